"""A visitor without a browser: speaks to a running chat as its page does, for simulations and benchmarks.

    visitor = Visitor(Server("http://127.0.0.1:7860"))
    answer = visitor.ask("how long can i return a tent")
    visitor.flag(answer, {"verdict": "bad", "reasons": ["outdated"], "correction": "Within 60 days."})

Each visitor enters with a key of its own and so is a contributor of its own. What the chat refuses is raised
as BacktalkError with the chat's own sentence. A chat in the same process (anything with `run` and `ask`)
serves as well as one behind an address.
"""

import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from backtalk.errors import BacktalkError, BusyError, NetworkError

Json = dict[str, Any]

PATIENCE_SECONDS = 120.0
BETWEEN_TRIES_SECONDS = 0.02
TOO_MANY = 503  # the status of a chat whose queue is full
WHOLE = "flag+thread"  # the consent under which the turns before a flagged answer may be kept


class Chat(Protocol):
    """What a visitor needs of a chat."""

    def run(self, name: str, request: Json) -> Json:
        """The answer of an endpoint that answers at once."""
        ...

    def ask(self, request: Json) -> Iterator[Json]:
        """What the server sends while an answer is written."""
        ...


class Server:
    """A chat behind an address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def run(self, name: str, request: Json) -> Json:
        return self._post(f"run/{name}", request)["data"][0]

    def ask(self, request: Json) -> Iterator[Json]:
        return self.stream("ask", request)

    def stream(self, name: str, request: Json) -> Iterator[Json]:
        """The answers, one after the other, of an endpoint that answers bit by bit."""
        event = self._post(f"call/{name}", request)["event_id"]
        with self._open(f"{self.address}/gradio_api/call/{name}/{event}") as lines:
            kind = ""
            for line in lines:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data" and kind == "generating":
                    yield json.loads(value)[0]

    def wait(self, seconds: float = PATIENCE_SECONDS) -> Json:
        """The state of a chat that has just been started, once its model is ready.

        Raises NetworkError when the time is up first or the model cannot be loaded.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                state = self.run("status", {})
            except (NetworkError, ValueError):  # the port is silent at first, then a page asks to wait
                state = {}
            if state.get("state") == "failed":
                raise NetworkError(f"The chat at {self.address} has no model: {state['reason']}")
            if state.get("state") == "ready":
                return state
            time.sleep(BETWEEN_TRIES_SECONDS)
        raise NetworkError(f"The chat at {self.address} was not ready after {seconds:g} seconds.")

    def _post(self, path: str, request: Json) -> Any:
        body, head = json.dumps({"data": [request]}).encode(), {"Content-Type": "application/json"}
        url = f"{self.address}/gradio_api/{path}"
        with self._open(urllib.request.Request(url, body, head)) as answer:
            return json.loads(answer.read())

    def _open(self, request: str | urllib.request.Request) -> Any:
        try:
            return urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)
        except urllib.error.HTTPError as fault:
            kind = BusyError if fault.code == TOO_MANY else NetworkError
            raise kind(f"The chat at {self.address} said: {fault.read().decode()[:200]}") from fault
        except OSError as fault:
            raise NetworkError(f"The chat at {self.address} was not reached ({fault}).") from fault


@dataclass(frozen=True)
class Answered:
    """An answer and the signed conversation that it ends."""

    conversation: str
    messages: tuple[Json, ...]

    @property
    def text(self) -> str:
        return self.messages[-1]["text"]

    @property
    def message(self) -> str:
        """The answer's id."""
        return self.messages[-1]["id"]

    @property
    def model(self) -> Json:
        """The model that answered: name, round, gguf_sha256 and more."""
        return self.messages[-1]["model"]


class Visitor:
    """One contributor."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        entered = self._run("enter", {})
        self.token, self._consent_version = entered["visitor"], entered["consent_version"]

    def ask(self, question: str, before: Answered | None = None, **controls: Any) -> Answered:
        """Asks in a new conversation, or goes on in that of `before`; `controls` as the page sends them."""
        conversation = before.conversation if before else secrets.token_urlsafe(12)
        earlier = before.messages if before else ()
        request = {
            "visitor": self.token,
            "conversation": conversation,
            "request": secrets.token_urlsafe(12),
            "messages": list(earlier),
            "question": question,
            "controls": controls,
        }
        whole: Json = {}
        for step in self._chat.ask(request):
            whole |= _calm(step)
        if "answer" not in whole:
            raise NetworkError("The chat ended an answer before it was whole. Ask again.")
        return Answered(conversation, (*earlier, whole["question"], whole["answer"]))

    def flag(self, answer: Answered, choice: Json, scope: str = WHOLE) -> Json:
        """Flags the answer under consent to training; returns the receipt. `choice` as the page sends it."""
        request = {
            "visitor": self.token,
            "conversation": answer.conversation,
            "messages": list(answer.messages),
            "message": answer.message,
            "choice": {**choice, "consent": self._consent(scope)},
        }
        return self._run("save", request)

    def withdraw(self, answer: Answered) -> Json:
        """Takes the flag on this answer back."""
        return self.flag(answer, {"verdict": ""})

    def _consent(self, scope: str) -> Json:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return {"version": self._consent_version, "scope": scope, "training": True, "at": at}

    def _run(self, name: str, request: Json) -> Json:
        return _calm(self._chat.run(name, request))


class Comparer(Visitor):
    """A contributor who also puts one question to two models; only a chat behind an address has them."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._server = server

    def compare(self, question: str, **controls: Any) -> str:
        """Puts a question to the first pair that the chat offers; returns it sealed, to be voted on.

        Raises BacktalkError where the chat has fewer than two models.
        """
        pair = self._run("contenders", {"visitor": self.token})["pair"]
        request = {
            "visitor": self.token,
            "pair": pair,
            "request": secrets.token_urlsafe(12),
            "question": question,
            "controls": controls,
        }
        whole: Json = {}
        for step in self._server.stream("compare", request):
            whole |= _calm(step)
        if "sealed" not in whole:
            raise NetworkError("The chat ended a comparison before it was whole. Ask again.")
        return str(whole["sealed"])

    def vote(self, sealed: str, choice: str, scope: str = WHOLE) -> Json:
        """Votes under consent to training; returns who was who. `choice` as the page sends it."""
        said = {"choice": choice, "consent": self._consent(scope)}
        return self._run("choose", {"visitor": self.token, "sealed": sealed, "choice": said})


def _calm(answer: Json) -> Json:
    if "error" in answer:
        raise BacktalkError(answer["error"]).called(answer.get("name", ""), **answer.get("gaps", {}))
    return answer
