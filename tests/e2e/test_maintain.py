"""The maintainer's tab in a browser: flags are decided on with the keyboard alone, a round is followed live.

Command: python -m pytest tests/e2e/test_maintain.py
Promise: every decision and its undoing is a key, is on disk under the signed-in name, and is logged; what a
round writes is seen while it writes, its verdict with its intervals.
"""

import fcntl
import getpass
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from backtalk.card import Card, write_card
from backtalk.files import read_jsonl, write_json
from feedback.store.decisions import NAME as REVIEWS
from feedback.store.decisions import Decisions
from feedback.store.outbox import NAME, Outbox
from tests.e2e.conftest import Server
from tests.feedback.events import CORRECTION, flag

ACTS = ("sync", "replay", "curate", "train", "export", "earlier", "taught", "evaluate", "publish", "promote")
CURRENT = {"ref": "mini", "name": "mini", "sha256": "0" * 64, "round": 0}
WHY = "Primary set: share right +40 points [+20, +60] on 40 items: better."


@pytest.fixture(scope="module")
def desk(browser_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with three flags, the most severe of which comes first."""
    server = Server(tmp_path_factory.mktemp("maintain") / "home").start()
    outbox = Outbox(server.home / NAME)
    for number, severity in enumerate(("critical", "major", "minor")):
        event = flag(f"who{number}", question=f"Question {number}?", correction=CORRECTION, severity=severity)
        outbox.save(replace(event, revision=0))
    outbox.close()
    yield server
    server.end()


@pytest.fixture
def maintain(desk: Server, visitor: Callable[..., Page]) -> Page:
    """The tab, signed in with the link of the terminal."""
    page = visitor()
    page.goto(desk.maintainer_link())
    expect(page.get_by_role("heading", name="Maintain", exact=True)).to_be_visible(timeout=60_000)
    return page


def test_flags_are_decided_on_with_the_keyboard_alone(desk: Server, maintain: Page) -> None:
    page = maintain
    card = page.get_by_role("article", name="The flag to decide on")
    said = page.locator(".m-queue [role=status]")
    expect(card).to_contain_text("Question 0?")
    expect(card).to_be_focused()
    page.keyboard.press("r")
    expect(said).to_have_text("Rejected. 2 groups wait.")
    page.keyboard.press("u")
    expect(said).to_have_text("Taken back. 3 groups wait.")
    expect(card).to_contain_text("Question 0?")
    page.keyboard.press("a")
    expect(card).to_contain_text("Question 1?")
    page.keyboard.press("Space")
    expect(card).to_contain_text("Question 2?")
    page.keyboard.press("w")
    expect(page.get_by_role("textbox", name="The right answer in your words")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("Ask us.")
    page.keyboard.press("Control+Enter")
    expect(said).to_have_text("Accepted. One group waits.")
    page.keyboard.press("n")
    expect(card).to_contain_text("Nothing waits for a decision here.")
    found = Decisions(desk.home / REVIEWS).standing().values()
    assert sorted((one.state, one.correction) for one in found) == [
        ("accepted", ""),
        ("accepted", "Ask us."),
        ("needs_reference", ""),
    ]
    who = {one.by for one in found}
    logged = [line for line in read_jsonl(desk.home / "actions.jsonl") if line["what"].startswith("review")]
    assert who == {line["who"] for line in logged} and len(logged) == 5
    assert who <= {getpass.getuser(), "maintainer"}


def test_a_round_is_followed_while_it_runs_until_its_verdict(desk: Server, maintain: Page) -> None:
    page, folder = maintain, desk.home / "rounds" / "7"
    written(folder, 3)
    (folder / "train.log").write_text("sft step 1/40\n")
    with open(folder.parent / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        page.get_by_role("button", name="Rounds", exact=True).click()
        acts = page.get_by_role("list", name="Acts of the round").get_by_role("listitem")
        expect(acts.filter(has_text="Train")).to_contain_text("running")
        expect(page.get_by_role("region", name="What the act under way says")).to_contain_text("step 1/40")
        expect(page.get_by_role("button", name="Stop the round")).to_be_visible()
        (folder / "train.log").write_text("sft step 1/40\nsft step 2/40\n")
        expect(page.get_by_role("region", name="What the act under way says")).to_contain_text("step 2/40")
        written(folder, len(ACTS))
        conditions = [{"name": "primary set", "standing": "shown", "why": WHY}]
        told = {"verdict": "PROMOTE", "why": WHY, "more_items": 0}
        write_json(folder / "verdict.json", {**told, "conditions": conditions})
        write_card(folder, Card("round", "round7", metrics={"promoted": True}, verdicts=[told]))
    expect(page.get_by_role("heading", name="Verdict PROMOTE")).to_be_visible()
    expect(acts.filter(has_text="Train")).to_contain_text("2 s")
    row = page.get_by_role("table", name="Differences").get_by_role("row").filter(has_text="flags held out")
    expect(row).to_contain_text("+0.200 … +0.600")


def written(folder: Path, count: int) -> None:
    """round.json after so many acts."""
    acts: dict[str, Any] = {name: {"words": ["it"], "seconds": 2.0, "said": {}} for name in ACTS[:count]}
    if "evaluate" in acts:
        difference = {
            "part": "primary",
            "metric": "right",
            "value": 0.4,
            "low": 0.2,
            "high": 0.6,
            "items": 40,
        }
        acts["evaluate"]["said"] = {"metrics": {"differences": [difference]}}
    state = {"format": "round/1", "number": 7, "recipe": {}, "current": CURRENT, "by": "ada"}
    write_json(folder / "round.json", {**state, "fresh": False, "acts": acts})
