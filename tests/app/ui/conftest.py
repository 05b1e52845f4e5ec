"""The page in this process: an engine that speaks from a script, an outbox on disk, an HTTP client."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.access.accounts import LINK, Accounts, Link, Person
from app.access.key import Key
from app.access.maintainers import Maintainers
from app.desk.answering import Desk
from app.flags.flagging import Flagging
from app.programs.beside import beside_page
from app.settings import Settings
from app.ui.page import serve_page
from app.ui.sign_in import SignIn
from app.ui.views import open_views
from backtalk.engine import CANCELLED, STOPPED, Ending, Limits, Place, Sampling
from backtalk.engine.metrics import Metrics
from backtalk.errors import BusyError
from backtalk.models import Model
from backtalk.prompt import Message, Prompt

JSON = {"content-type": "application/json"}
MEETING = threading.Barrier(Limits.live + Limits.queue)
ANSWER = "It is **on its way**. <script>alert(1)</script>"


class ScriptedEngine:
    """Says ANSWER, word by word; asked to "wait" it goes on until it is cancelled, asked to "meet" until as
    many answers are written at once as an engine takes and lets wait.
    """

    name, threads, context, template_sha256 = "scripted", 1, 2048, "0" * 64
    model = Model("scripted", Path("scripted-Q8_0.gguf"), "1" * 64)

    def prompt(self, messages: Sequence[Message], max_tokens: int) -> Prompt:
        return Prompt(list(range(10 * len(messages))), list(messages), 0)

    def stream(self, prompt: Prompt, sampling: Sampling, visitor: str = "") -> "ScriptedStream":
        if prompt.messages[-1]["content"] == "busy":
            raise BusyError("64 questions are waiting already.").called("busy", most=64)
        return ScriptedStream(prompt)

    def metrics(self) -> Metrics:
        return Metrics(queued=3)

    def close(self) -> None:
        pass


class ScriptedStream:
    def __init__(self, prompt: Prompt):
        self._prompt, self._cancelled = prompt, threading.Event()
        self._places = [Place(3, 20.4)] if "in line" in prompt.messages[-1]["content"] else []

    @property
    def place(self) -> Place | None:
        return self._places.pop() if self._places else None

    def __iter__(self) -> Iterator[str]:
        for word in ANSWER.split(" "):
            yield word + " "
        if "meet" in self._prompt.messages[-1]["content"]:
            MEETING.wait(60)
        if "wait" in self._prompt.messages[-1]["content"]:
            self._cancelled.wait(30)

    def cancel(self) -> None:
        self._cancelled.set()

    @property
    def ending(self) -> Ending:
        return Ending(CANCELLED if self._cancelled.is_set() else STOPPED, 10, 0, 6, 1.5, 100.0)


class Visitor:
    """Speaks to the endpoints as the page does."""

    def __init__(self, client: TestClient):
        self.client = client
        self.token = self.run("enter")["visitor"]
        self.messages: list[dict[str, Any]] = []

    def run(self, name: str, **request: Any) -> dict[str, Any]:
        body = json.dumps({"data": [request]})  # lone surrogates too, as a browser may send them
        answer = self.client.post(f"/gradio_api/run/{name}", content=body, headers=JSON)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"][0]

    def known(self, **more: Any) -> dict[str, Any]:
        """What the page sends with every question about its conversation."""
        return {"visitor": self.token, "conversation": "conversation1", "messages": self.messages, **more}

    def begin(self, question: str | None, **more: Any) -> Iterator[dict[str, Any]]:
        """Asks; yields what the server sends as it comes."""
        request = self.known(question=question, request="request-1", **more)
        event = self.client.post("/gradio_api/call/ask", json={"data": [request]}).json()["event_id"]
        yield from self.follow(event)

    def follow(self, event: str) -> Iterator[dict[str, Any]]:
        with self.client.stream("GET", f"/gradio_api/call/ask/{event}") as answer:
            kind = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data" and kind == "generating":
                    yield json.loads(value)[0]

    def ask(self, question: str | None, **more: Any) -> dict[str, Any]:
        """Asks, takes the messages into the conversation, returns everything that was sent."""
        whole: dict[str, Any] = {}
        for step in self.begin(question, **more):
            whole.update(step)
        self.messages += [whole[name] for name in ("question", "answer") if name in whole]
        return whole


@pytest.fixture(scope="session")
def scripted_desk() -> Desk:
    desk = Desk(ScriptedEngine).start()
    assert desk.wait(10)
    return desk


@pytest.fixture(scope="session")
def open_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., TestClient]]:
    """open_page(desk) serves the page in this process, with an outbox of its own."""
    clients: list[TestClient] = []

    def open_page(desk: Desk, key: str = "", sign_in: SignIn | None = None, **settings: Any) -> TestClient:
        knobs = Settings(**settings)
        sign_in = sign_in or SignIn(Accounts(Maintainers(), Link()), None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BACKTALK_HOME", str(tmp_path_factory.mktemp("home")))
            flagging = Flagging.at_home()
        beside = beside_page(desk, flagging, knobs, Key(key) if key else None)
        views = open_views(desk, flagging, knobs)
        app = serve_page(views, knobs, {**beside, **sign_in.routes()}, sign_in.maintainer)
        clients.append(TestClient(app, raise_server_exceptions=False).__enter__())
        return clients[-1]

    yield open_page
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture(scope="session")
def client(open_page: Callable[..., TestClient], scripted_desk: Desk) -> TestClient:
    return open_page(scripted_desk)


@pytest.fixture
def new_visitor() -> Callable[[TestClient], Visitor]:
    """new_visitor(client): somebody else, on a page of one's own."""
    return Visitor


@pytest.fixture
def maintainer() -> dict[str, str]:
    """The headers of whoever came with this machine's link."""
    cookie = Accounts(Maintainers(), Link()).cookie(Person("anna", LINK))
    return {"cookie": cookie.partition(";")[0]}


@pytest.fixture
def visitor(client: TestClient) -> Visitor:
    return Visitor(client)
