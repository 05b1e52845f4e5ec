"""The engine interface over an OpenAI-compatible endpoint: a real HTTP server that says what it is told.

Command: .venv/bin/python -m pytest tests/backtalk/test_engine_endpoint.py
Promise: answers stream and stop; what fails before the first word is tried again, what fails later is said.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from backtalk.engine import CANCELLED, FULL, STOPPED, Engine, Sampling, load, remote
from backtalk.errors import ContextError, NetworkError, WordsError
from backtalk.models import resolve

HELLO = [{"role": "user", "content": "hello"}]
WORDS = ["Good", " mor", "ning"]


def said(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": reason}]}


WHOLE = [
    *map(said, WORDS),
    said("", "stop"),
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}},
]


class Endpoint:
    """A server; `answers` are (status, events) in order, the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, list[dict[str, Any]]]] = [(200, WHOLE)]
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.may_end = threading.Event()
        self.left = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def ref(self) -> str:
        return f"openai:http://127.0.0.1:{self._server.server_port}/v1#small"

    def close(self) -> None:
        self.may_end.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(endpoint: "Endpoint") -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._begin(200, "application/json")
                self.wfile.write(json.dumps({"data": [{"id": "the-only-one"}]}).encode())

            def do_POST(self) -> None:
                endpoint.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                endpoint.keys.append(self.headers.get("Authorization"))
                more = len(endpoint.answers) > 1
                status, events = endpoint.answers.pop(0) if more else endpoint.answers[0]
                self._begin(status, "text/event-stream")
                try:
                    for event in events:
                        if event == "wait":
                            self._wait_for_the_reader_to_leave()
                        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                except OSError:
                    endpoint.left.set()

            def _wait_for_the_reader_to_leave(self) -> None:
                if self.connection.recv(1) == b"":
                    endpoint.left.set()

            def _begin(self, status: int, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture
def remote_engine(endpoint: Endpoint) -> Engine:
    return load(resolve(endpoint.ref), context=400)


def answer(engine: Engine, sampling: Sampling | None = None) -> tuple[str, Any]:
    stream = engine.stream(engine.prompt(HELLO, 64), sampling or Sampling(max_tokens=64))
    return "".join(stream), stream.ending


def test_an_answer_streams_and_ends(remote_engine: Engine, endpoint: Endpoint) -> None:
    text, ending = answer(remote_engine)
    assert text == "Good morning"
    assert (ending.finish_reason, ending.prompt_tokens, ending.completion_tokens) == (STOPPED, 9, 3)
    assert endpoint.requests[0]["messages"] == HELLO
    assert endpoint.requests[0]["model"] == "small"
    assert remote_engine.metrics().written == 3


def test_every_setting_is_sent(remote_engine: Engine, endpoint: Endpoint) -> None:
    answer(remote_engine, Sampling(0.3, 0.8, 20, 0.1, 1.2, 33, 7, ("\n",)))
    wanted = {"temperature": 0.3, "top_p": 0.8, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.2}
    wanted |= {"max_tokens": 33, "seed": 7, "stop": ["\n"], "stream": True}
    assert wanted.items() <= endpoint.requests[0].items()


def test_an_endpoint_that_knows_openais_settings_alone_is_asked_with_those(
    remote_engine: Engine, endpoint: Endpoint
) -> None:
    endpoint.answers = [(400, []), (200, WHOLE)]
    assert answer(remote_engine)[0] == "Good morning"
    answer(remote_engine)
    assert ["top_k" in request for request in endpoint.requests] == [True, False, False]


def test_length_is_told_apart_from_stop(remote_engine: Engine, endpoint: Endpoint) -> None:
    endpoint.answers = [(200, [said("Good", "length")])]
    assert answer(remote_engine)[1].finish_reason == FULL


def test_what_fails_before_the_first_word_is_tried_again(remote_engine: Engine, endpoint: Endpoint) -> None:
    endpoint.answers = [(503, []), (429, []), (200, WHOLE)]
    assert answer(remote_engine)[0] == "Good morning"
    assert len(endpoint.requests) == 3


def test_what_keeps_failing_is_one_sentence(remote_engine: Engine, endpoint: Endpoint) -> None:
    endpoint.answers = [(503, [])]
    with pytest.raises(NetworkError, match="answered 503.*tried 3 times") as refused:
        answer(remote_engine)
    assert refused.value.words == {"name": "endpoint_silent", "gaps": {"tries": 3}}


@pytest.mark.parametrize("end", [[], [{"error": {"message": "out of memory"}}]])
def test_what_fails_after_the_first_word_is_said_and_not_tried_again(
    remote_engine: Engine, endpoint: Endpoint, end: list[dict[str, Any]]
) -> None:
    endpoint.answers = [(200, [said("Good"), *end])]
    stream = remote_engine.stream(remote_engine.prompt(HELLO, 64), Sampling())
    pieces = iter(stream)
    assert next(pieces) == "Good"
    with pytest.raises(NetworkError, match="broke the answer off"):
        list(pieces)
    assert len(endpoint.requests) == 1


def test_who_cancels_hangs_up(remote_engine: Engine, endpoint: Endpoint) -> None:
    endpoint.answers = [(200, [said("Good"), "wait", said("never")])]  # type: ignore[list-item]
    stream = remote_engine.stream(remote_engine.prompt(HELLO, 64), Sampling())
    pieces = iter(stream)
    assert next(pieces) == "Good"
    stream.cancel()
    assert list(pieces) == []
    assert stream.ending.finish_reason == CANCELLED
    assert endpoint.left.wait(60)


@pytest.mark.parametrize(("status", "words"), [(401, "wants a key"), (404, "does not serve 'small'")])
def test_a_refusal_says_what_to_do_and_is_not_repeated(
    remote_engine: Engine, endpoint: Endpoint, status: int, words: str
) -> None:
    endpoint.answers = [(status, [])]
    with pytest.raises(NetworkError, match=words):
        answer(remote_engine)
    assert len(endpoint.requests) == 1


def test_a_key_is_sent_and_never_shown(
    remote_engine: Engine, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKTALK_ENDPOINT_KEY", "sesame")
    endpoint.answers = [(401, [])]
    with pytest.raises(NetworkError) as fault:
        answer(remote_engine)
    assert endpoint.keys == ["Bearer sesame"]
    assert "sesame" not in str(fault.value)


def test_old_turns_are_left_out_by_estimate_and_a_long_question_refused(remote_engine: Engine) -> None:
    turns = [{"role": role, "content": "tent " * 60} for role in ("user", "assistant") * 3]
    prompt = remote_engine.prompt([*turns, *HELLO], 64)
    assert prompt.dropped_turns == 2
    assert prompt.messages[-1] == HELLO[0]
    with pytest.raises(ContextError, match="Please shorten it"):
        remote_engine.prompt([{"role": "user", "content": "tent " * 2000}], 64)


def test_without_a_name_the_first_model_there_is_taken(endpoint: Endpoint) -> None:
    engine = load(resolve(endpoint.ref.partition("#")[0]))
    answer(engine)
    assert endpoint.requests[0]["model"] == "the-only-one"


def test_nothing_there_is_one_sentence() -> None:
    with pytest.raises(NetworkError, match="was not reached"):
        load(resolve("openai:http://127.0.0.1:9/v1"))


def test_an_address_without_a_scheme_is_one_sentence() -> None:
    with pytest.raises(WordsError, match="Wanted: openai:http://host/v1#name"):
        load(resolve("openai:host/v1#name"))
