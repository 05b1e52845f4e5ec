"""A real browser and a real server for the end-to-end tests.

`browser_path`   an installed Chromium or Chrome; without one these tests are skipped, but fail where CI=true
`page`           a visitor who was never here, in a desktop window
`server`         `backtalk chat` with the bundled model, one for all tests
`slow_server`    another one, whose model takes its time with every answer and never finds an end
`new_server`     makes a server of one's own, to kill and to start again, or with another model
`chat`           the page opened by that visitor on that server, with the few gestures that every story needs
"""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from scripts.browser import HOW_TO_GET_ONE, find_browser
from tests.e2e.slow import make_slow_model
from tests.e2e.warm import Fork, launch
from tests.e2e.windows import PATIENCE_MS, Windows

PATIENCE_SECONDS = 100  # for a server to start on a busy machine
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    # Beside every window, the address bar's menus are pages of their own: a second of CPU each time. Of
    # several such lists the last one counts, so what Playwright's names is said again.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,"
    "AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,LensOverlay,MediaRouter,"
    "PaintHolding,ThirdPartyStoragePartitioning,OptimizationHints,NetworkTimeServiceQuerying,AimEnabled,"
    "PreconnectToSearch",
]
ONE = ("--threads", "1")  # several wait for one another wherever others compute
KEY = "0123456789abcdef"  # with which programs ask the slow server

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(autouse=True, scope="session")
def every_core() -> None:
    """A browser, a server and a test take more than the one core that a worker of several has."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def free_port() -> int:
    """One that stays free while its server is away: below those that systems lend to outgoing connections."""
    while True:
        port = 10_000 + secrets.randbelow(22_000)  # `random` is seeded by what trains
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


class Server:
    """`backtalk chat` as a process of its own, with a state folder and a port that stay the same."""

    def __init__(self, home: Path, *words: str, port: int = 0):
        self.home, self.words = home, words
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.log = home.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | Fork | None = None

    def start(self) -> "Server":
        self._process = launch(["chat", "--port", str(self.port), *self.words], self.environment, self.log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        return self

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "BACKTALK_HOME": str(self.home)}

    def backtalk(self, *words: str) -> str:
        """What the command prints with the same state folder."""
        done = subprocess.run(
            [sys.executable, "-m", "backtalk", *words], env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def maintainer_link(self) -> str:
        """The newest link in the terminal: opened once, it makes its browser a maintainer's."""
        return re.findall(r"works once: (\S+)", self.log.read_text())[-1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits for the end; returns the exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(PATIENCE_SECONDS)
        self._process = None
        return code

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}health", timeout=5) as answer:
                return answer.headers["content-type"] == "application/json"
        except OSError:
            return False


class Chat:
    """The page as a visitor uses it; what is found, is found by its name, as a screen reader would."""

    def __init__(self, page: Page, server: Server):
        self.page, self.server = page, server
        self.box = page.get_by_role("textbox", name="Message", exact=True)
        self.answers = page.get_by_role("article").filter(has=page.get_by_role("heading", name="Backtalk"))
        self.questions = page.get_by_role("article").filter(has=page.get_by_role("heading", name="You said"))
        self.stop = page.get_by_role("button", name="Stop")
        self.send = page.get_by_role("button", name="Send")

    def open(self) -> "Chat":
        self.page.goto(self.server.url)
        return self.wait()

    def wait(self) -> "Chat":
        """Until the model is ready."""
        expect(self.page.locator("#model")).to_have_attribute("data-state", "ready")
        return self

    def ask(self, text: str) -> Locator:
        """Asks, waits for the end of the answer and returns it."""
        count = self.answers.count()
        self.begin(text)
        expect(self.stop).to_have_count(0)
        expect(self.answers).to_have_count(count + 1)
        return self.answers.last

    def begin(self, text: str) -> None:
        """Asks and waits until the question stands in the thread."""
        count = self.questions.count()
        self.box.fill(text)
        self.box.press("Enter")
        expect(self.questions).to_have_count(count + 1)

    def sent_line(self, answer: Locator) -> Locator:
        return answer.get_by_text("sent: ")

    def button(self, answer: Locator, name: str) -> Locator:
        return answer.get_by_role("button", name=name)

    def toast(self, text: str) -> None:
        """Waits until the page has said it in passing, since it was loaded."""
        self.page.wait_for_function("(text) => toasts.some((said) => said.includes(text))", arg=text)

    def panel(self) -> Locator:
        return self.page.get_by_role("form", name="Feedback on this answer")

    def kept(self) -> list[dict[str, object]]:
        """The conversations as the browser keeps them."""
        return self.page.evaluate(
            "Object.keys(localStorage).filter((key) => key.startsWith('backtalk.conversation.'))"
            ".map((key) => JSON.parse(localStorage.getItem(key)))"
        )

    def set(self, name: str, value: float) -> None:
        """Moves a slider of the settings sheet."""
        self.page.get_by_role("button", name="Settings").click()
        self.page.get_by_role("slider", name=name).fill(str(value))
        self.page.get_by_role("dialog").get_by_role("button", name="Close").last.click()


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The browser's path; without one the tests that want it are skipped, but fail where CI=true."""
    path = find_browser()
    if path:
        return path
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(HOW_TO_GET_ONE)
    pytest.skip(HOW_TO_GET_ONE)


@pytest.fixture(scope="session")
def browser(browser_path: str) -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser_path, args=QUIET)
        yield started
        started.close()


@pytest.fixture(scope="session")
def windows(browser: Browser) -> Windows:
    """The windows of that browser."""
    return Windows(browser)


@pytest.fixture
def visitor(windows: Windows) -> Iterator[Callable[..., Page]]:
    """visitor(viewport=..., color_scheme=...) opens a page with empty storage, by default on a desktop;
    visitor(anew=True) in a window of its own.
    """
    yield windows.open
    windows.leave()


@pytest.fixture
def page(visitor: Callable[..., Page]) -> Page:
    """A visitor who was never here: empty storage, a desktop window."""
    return visitor()


@pytest.fixture(scope="session")
def same_port() -> int:
    """Where servers stand one after the other: a browser knows Gradio's scripts from the one before."""
    return free_port()


@pytest.fixture
def new_server(tmp_path: Path, same_port: int) -> Iterator[Callable[..., Server]]:
    """new_server("--model", ...) starts a server that nobody else uses."""
    started: list[Server] = []

    def new_server(*words: str) -> Server:
        port = 0 if started else same_port
        started.append(Server(tmp_path / f"home{len(started)}", *words, port=port))
        return started[-1].start()

    yield new_server
    for server in started:
        server.end(signal.SIGKILL)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server for every test that does not hurt it."""
    server = Server(tmp_path_factory.mktemp("server") / "home")
    try:
        yield server.start()
    finally:
        server.end()


@pytest.fixture(scope="session")
def slow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server whose answers last; programs may ask it with KEY, and it tells its numbers."""
    model = make_slow_model(tmp_path_factory.mktemp("slow") / "model")
    server = Server(tmp_path_factory.mktemp("slow-server") / "home", "--model", str(model), "--metrics", *ONE)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BACKTALK_API_KEY", KEY)
            server.start()
        yield server
    finally:
        server.end(signal.SIGKILL)


@pytest.fixture
def chat(page: Page, server: Server) -> Chat:
    return Chat(page, server).open()


@pytest.fixture
def open_chat(visitor: Callable[..., Page]) -> Callable[..., Chat]:
    """open_chat(server, viewport=...) opens the page of a server of one's own, or as another visitor."""

    def open_chat(server: Server, **options: object) -> Chat:
        return Chat(visitor(**options), server).open()

    return open_chat
