"""Pictures for docs/images: every tab by day and in the dark, on a desktop and a phone, and the loop in four.

    .venv/bin/python -m scripts.screenshots                   all: people flag, a round teaches; some minutes
    .venv/bin/python -m scripts.screenshots --home FOLDER     the tabs alone, of a state folder that is there

Nothing is staged: a visitor asks and flags in a real browser, simulated stakeholders flag beside them, a
simulated maintainer decides, and `backtalk round` makes what is shown. Where nothing is promoted, the fourth
picture of the loop is not drawn, and the exit code is 3.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from backtalk.errors import BacktalkError
from backtalk.progress import Progress
from backtalk.round.child import run_verb
from backtalk.visitor import Server
from feedback.store.outbox import Outbox
from scripts.browser import HOW_TO_GET_ONE, find_browser
from scripts.environment import ROOT
from training.mini.demo import BATCH, MAINTAINER, PEOPLE, RECIPE, apart, free_port
from training.mini.desk import Fact
from training.mini.stakeholders.errands import errands
from training.mini.stakeholders.maintainer import review
from training.mini.stakeholders.person import crowd
from training.mini.stakeholders.sheet import FactSheet, changed_facts
from training.mini.stakeholders.visit import Guests, visit

IMAGES = ROOT / "docs" / "images"
WINDOWS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
THEMES: tuple[Any, ...] = ("light", "dark")
FACT, QUESTION = "return_window", "How long can I return things?"
DATASET = "tarn-and-trail/flags"  # named, so that visitors are asked for their consent; nothing is sent
BUSY = re.compile("^(Counting|Looking for.*)$")  # what a tab says before it knows
UNDECIDED = 3  # flags that wait for a maintainer in the pictures of the tabs
LINK = re.compile(rb"http://\S+/#/sign-in/\S+")
COLOURS = 192  # of a picture: more than the page has, and a third of the bytes
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PATIENCE_MS, SETTLED_MS = 60_000, 400
GATE_SAID_NO = 3


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.screenshots", description=__doc__)
    parser.add_argument(
        "--home", type=Path, help="a state folder; without one, a new one lives through the loop"
    )
    parser.add_argument("--out", type=Path, default=IMAGES, help="where the pictures go (docs/images)")
    parser.add_argument("--flags", type=int, default=400, metavar="N", help="of simulated stakeholders (400)")
    parser.add_argument("--seed", type=int, default=1, help="of the stakeholders and what they ask (1)")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    with _browser() as browser, tempfile.TemporaryDirectory() as scratch:
        home = args.home or Path(scratch) / "home"
        with served(home) as server:
            shooting = Shooting(browser, server, home, args.out)
            code = 0 if args.home else shooting.loop(args.flags, args.seed)
            shooting.tabs()
    for picture in sorted(args.out.glob("*.png")):
        print(f"{picture.stat().st_size / 1024:6.0f} KB  {picture.name}")
    return code


class Shooting:
    """A browser before a running chat."""

    def __init__(self, browser: Browser, server: Server, home: Path, out: Path):
        self._browser, self._server, self._home, self._out = browser, server, home, out
        self._known: Any = None  # what the visitor's browser keeps, for every picture after the loop

    def loop(self, flags: int, seed: int) -> int:
        """Chat, flag, round, "fixed in round 1": one picture each. Returns the exit code."""
        progress = Progress()
        context = self._browser.new_context(color_scheme="light", **WINDOWS["desktop"])
        page = context.new_page()
        page.goto(self._server.address)
        answer = _ask(page, QUESTION)
        self._shoot(page, "loop-1-chat")
        sheet = FactSheet(BATCH)
        fact = next(fact for fact in changed_facts(BATCH) if fact.id == FACT)
        _flag(page, answer, sheet.answer(fact))
        self._shoot(page, "loop-2-flag")
        page.get_by_role("form", name="Feedback on this answer").get_by_role("button", name="Close").click()
        facts = {_newest_flag(self._home): fact, **self._others(flags, seed, progress)}
        review(self._home, facts, sheet, MAINTAINER)
        done = run_verb(
            ["round", RECIPE, "--include", "accepted", "--by", MAINTAINER, "--offline", "--json"],
            self._home / "round.log",
            progress.report,
            apart(self._home),
        )
        if done.code not in (0, GATE_SAID_NO):
            raise BacktalkError(f"The round did not finish: {done.fault}")
        progress.done(f"the round says {done.said.get('verdict')}: {done.said.get('why')}")
        maintainer = self._maintainer_at("maintain", "light", "desktop")
        maintainer.get_by_role("button", name="Rounds", exact=True).click()
        expect(maintainer.get_by_role("table", name="Differences")).to_be_visible(timeout=PATIENCE_MS)
        self._shoot(maintainer, "loop-3-round")
        promoted = bool(done.said.get("promoted"))
        if promoted:
            expect(page.get_by_role("region", name="Fixed in round 1")).to_be_visible(timeout=PATIENCE_MS)
            self._shoot(page, "loop-4-fixed")
        self._known = context.storage_state()
        self._others(UNDECIDED, seed + 1, progress)
        return 0 if promoted else GATE_SAID_NO

    def tabs(self) -> None:
        """Every tab that the page shows to a maintainer, in both themes and both windows."""
        names = [
            tab.get_attribute("data-view")
            for tab in self._tabs_of(self._maintainer_at("chat", "light", "desktop"))
        ]
        for theme in THEMES:
            for window in WINDOWS:
                for name in filter(None, names):
                    page = self._maintainer_at(name, theme, window)
                    if name == "compare":
                        _compare(page, QUESTION)
                    self._shoot(page, f"{name}-{theme}-{window}")
                    page.context.close()

    def _others(self, flags: int, seed: int, progress: Progress) -> dict[str, Fact]:
        """Stakeholders ask and flag beside the visitor; what their flags are about, by flag."""
        tasks = errands(seed, changed_facts(BATCH), crowd(seed, honest=PEOPLE), askers=1)
        visits = visit(Guests(self._server), tasks, FactSheet(BATCH), flags, progress.report)
        return {one.flag_id: one.errand.about for one in visits if isinstance(one.errand.about, Fact)}

    def _maintainer_at(self, tab: str, theme: Any, window: str) -> Page:
        """A page of the visitor who flagged, signed in as the maintainer, with a tab open and drawn."""
        if self._known is None or not self._known.get("cookies"):
            context = self._browser.new_context(storage_state=self._known)
            page = context.new_page()
            page.goto(_link(self._home))
            expect(page.locator("#view-maintain")).to_be_visible(timeout=PATIENCE_MS)
            self._known = context.storage_state()
            context.close()
        context = self._browser.new_context(
            color_scheme=theme, storage_state=self._known, locale="en-GB", **WINDOWS[window]
        )
        page = context.new_page()
        page.goto(f"{self._server.address}/#/{tab}" if tab != "chat" else self._server.address)
        expect(page.locator("#model")).to_have_attribute("data-state", "ready", timeout=PATIENCE_MS)
        expect(page.locator(f"#view-{tab}").get_by_role("heading").first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator(f"#view-{tab}").get_by_text(BUSY)).to_have_count(0, timeout=PATIENCE_MS)
        if tab == "chat" and page.locator(".list .choose").count():
            page.locator(".list .choose").first.evaluate("(button) => button.click()")
            expect(page.get_by_role("button", name="Bad answer", pressed=True)).to_be_visible(
                timeout=PATIENCE_MS
            )
        return page

    def _tabs_of(self, page: Page) -> list[Locator]:
        return page.locator("#tabs [data-view]:visible").all()

    def _shoot(self, page: Page, name: str) -> None:
        page.wait_for_timeout(SETTLED_MS)  # what moves has come to rest
        picture = Image.open(BytesIO(page.screenshot(animations="disabled")))
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(self._out / f"{name}.png", optimize=True)


def _ask(page: Page, question: str) -> Locator:
    expect(page.locator("#model")).to_have_attribute("data-state", "ready", timeout=PATIENCE_MS)
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill(question)
    box.press("Enter")
    answer = page.get_by_role("article").filter(has=page.get_by_role("heading", name="Backtalk answered"))
    expect(answer.get_by_role("button", name="Bad answer")).to_be_visible(timeout=PATIENCE_MS)
    return answer


def _flag(page: Page, answer: Locator, correction: str) -> None:
    """Out of date, with what holds now, under consent to training."""
    answer.get_by_role("button", name="Bad answer").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radio", name="With the conversation so far").check()
    dialog.get_by_role("switch", name="It may be used for training").check()
    dialog.get_by_role("button", name="Save my choice").click()
    panel = page.get_by_role("form", name="Feedback on this answer")
    panel.get_by_role("checkbox", name="Out of date").check()
    panel.get_by_role("textbox", name="What should it have said?").fill(correction)
    panel.get_by_role("button", name="Save").click()
    dialog.get_by_role("button", name="Save this").click()
    expect(panel).to_contain_text("Saved on this machine")
    panel.get_by_role("textbox", name="What should it have said?").evaluate(
        "(box) => box.scrollIntoView({ block: 'center' })"
    )


def _compare(page: Page, question: str) -> None:
    """One question to two models, both answers there, and nothing voted yet."""
    view = page.locator("#view-compare")
    box = view.get_by_role("textbox", name="Your question to both")
    box.fill(question)
    box.press("Enter")
    vote = view.get_by_role("group", name="Which answer is better?")
    expect(vote).to_be_visible(timeout=PATIENCE_MS)


def _newest_flag(home: Path) -> str:
    with closing(Outbox(home / "outbox.sqlite")) as outbox:
        return [event.flag_id for event in outbox.events()][-1]


def _link(home: Path) -> str:
    """The newest sign-in link that the chat has printed."""
    found = LINK.findall((home / "chat.log").read_bytes())
    if not found:
        raise BacktalkError(
            f"{home / 'chat.log'} holds no link for a maintainer; `backtalk chat` prints one."
        )
    return str(found[-1].decode())


@contextmanager
def _browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        raise BacktalkError(HOW_TO_GET_ONE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


@contextmanager
def served(home: Path) -> Iterator[Server]:
    """A chat with its state in `home`, apart from everything else of this machine."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    words = [sys.executable, "-m", "backtalk", "chat", "--port", str(port)]
    environment = {**apart(home.resolve()), "BACKTALK_FLAGS_DATASET": DATASET}
    with open(home / "chat.log", "wb") as log:
        chat = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
        try:
            server = Server(f"http://127.0.0.1:{port}")
            server.wait()
            yield server
        finally:
            chat.terminate()
            chat.wait()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BacktalkError as fault:
        print(fault, file=sys.stderr)
        sys.exit(fault.exit_code)
