"""The engine interface over any OpenAI-compatible endpoint: vLLM, llama-server, an Inference Endpoint.

    engine = EndpointEngine(resolve("openai:http://127.0.0.1:8080/v1#llama"), context=8192)

The endpoint has its own template and tokenizer, so messages are sent, and how many fit is estimated. A key is
taken from BACKTALK_ENDPOINT_KEY. What fails before the first token is tried again; what fails after it is
said, since the words that were shown cannot be taken back.
"""

import json
import os
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from backtalk.engine import Ending, Sampling
from backtalk.engine.metrics import Metrics
from backtalk.engine.remote import EndpointStream, Hold, Passing
from backtalk.errors import ContextError, NetworkError, WordsError
from backtalk.models import Model
from backtalk.prompt import Message, Prompt, by_turns, room_for

KEY = "BACKTALK_ENDPOINT_KEY"
CHARACTERS_A_TOKEN = 3.0  # few, since a prompt is rather found too long here than cut by the other side
TOKENS_A_MESSAGE = 8  # that a template writes around it
PATIENCE = 120.0  # seconds without a word
AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}  # answers that may be others the next time
REFUSED = {400, 422}  # also what strict endpoints say to settings that OpenAI's own does not know
BEYOND_OPENAI = ("top_k", "min_p", "repetition_penalty")  # llama-server and vLLM know them


class EndpointEngine:
    """See backtalk.engine.Engine."""

    name = "openai-compatible endpoint"
    threads = 0
    template_sha256 = ""

    def __init__(self, model: Model, context: int):
        self.model, self.context = model, context
        address, _, self._served = model.endpoint.removeprefix("openai:").partition("#")
        self._address = address.rstrip("/")
        if urlsplit(self._address).scheme not in ("http", "https"):
            raise WordsError(f"'{model.endpoint}' is no endpoint. Wanted: openai:http://host/v1#name.")
        self._knows_all = True
        """False once it refused the settings that llama-server and vLLM know beyond OpenAI's."""
        self._metrics = Metrics()
        self._streams: set[EndpointStream] = set()
        self._served = self._served or self._first_served()

    def prompt(self, messages: Sequence[Message], max_tokens: int) -> Prompt:
        """The newest turns that should fit, by an estimate: the endpoint alone can count."""
        room = room_for(max_tokens, self.context)
        system, turns = by_turns(messages)
        for dropped in range(len(turns)):
            chosen = [*system, *(message for turn in turns[dropped:] for message in turn)]
            if estimate(chosen) <= room:
                return Prompt([], chosen, dropped_turns=dropped)
        tokens = estimate([*system, *turns[-1]])
        raise ContextError(
            f"This message takes about {tokens:,} tokens and the model has room for {room:,}. "
            "Please shorten it or send it in parts."
        ).called("no_room", tokens=tokens, room=room)

    def stream(self, prompt: Prompt, sampling: Sampling, visitor: str = "") -> EndpointStream:
        self._metrics.asked += 1
        request = self._request(prompt, sampling)
        stream = EndpointStream(lambda hold: self._post(request, hold), self._count)
        self._streams.add(stream)
        return stream.start()

    def metrics(self) -> Metrics:
        self._metrics.active = len(self._streams)
        return self._metrics

    def close(self) -> None:
        """Stops what is still being answered."""
        for stream in list(self._streams):
            stream.cancel()

    def _post(self, request: dict[str, Any], hold: Hold) -> HTTPResponse:
        """An answer that begins to stream. Raises Passing for what may go better the next time."""
        body = request if self._knows_all else _plain(request)
        answer = self._send("POST", "/chat/completions", body, hold)
        if answer.status == 200:
            return answer
        with answer:
            if answer.status in REFUSED and self._knows_all:
                self._knows_all = False
                return self._post(request, hold)
            raise self._refusal(answer)

    def _send(self, method: str, path: str, body: dict[str, Any] | None, hold: Hold) -> HTTPResponse:
        parts = urlsplit(self._address)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.netloc, timeout=PATIENCE)
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        headers["Connection"] = "close"  # the answer then owns the connection and ends it
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        try:
            connection.connect()
            hold(connection.sock)
            connection.request(method, parts.path + path, json.dumps(body) if body else None, headers)
            return connection.getresponse()
        except (OSError, HTTPException) as fault:
            connection.close()
            raise Passing(f"{self._address} was not reached ({fault}).") from fault

    def _refusal(self, answer: HTTPResponse) -> Exception:
        """What an answer other than 200 means, in a sentence."""
        words = " ".join(answer.read(300).decode("utf-8", "replace").split())
        if answer.status in (401, 403):
            return NetworkError(
                f"{self._address} wants a key, or another one. Set {KEY} to one that it accepts."
            ).called("endpoint_key", variable=KEY)
        if answer.status == 404:
            return NetworkError(
                f"{self._address} does not serve '{self._served}' ({words[:100]}). "
                "Check the address, which usually ends in /v1, and the name behind #."
            ).called("endpoint_lacks", model=self._served)
        fault = f"{self._address} answered {answer.status} ({words[:100]})."
        if answer.status in AGAIN:
            return Passing(fault, _seconds(answer.headers.get("Retry-After", "")))
        return NetworkError(f"{fault} Change the settings, or use another model.").called(
            "endpoint_refused", status=answer.status
        )

    def _request(self, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        request = {
            "model": self._served,
            "messages": [dict(message) for message in prompt.messages],
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repeat_penalty,
        }
        return request | ({"stop": list(sampling.stop)} if sampling.stop else {})

    def _first_served(self) -> str:
        """The name of the first model there. Raises NetworkError where nothing answers."""
        try:
            answer = self._send("GET", "/models", None, hold=lambda _: None)
        except Passing as fault:
            raise NetworkError(f"{fault} Start it, or check the address behind openai:.") from fault
        with answer:
            if answer.status != 200:
                raise self._refusal(answer)
            try:
                return str(json.loads(answer.read())["data"][0]["id"])
            except (ValueError, KeyError, IndexError, TypeError) as fault:
                raise NetworkError(
                    f"{self._address} lists no models. Name one: openai:{self._address}#name."
                ) from fault

    def _count(self, stream: EndpointStream, ending: Ending | None) -> None:
        self._streams.discard(stream)
        reason = ending.finish_reason if ending else "error"
        self._metrics.ended[reason] = self._metrics.ended.get(reason, 0) + 1
        if ending:
            self._metrics.written += ending.completion_tokens
            self._metrics.found += ending.cached_tokens
            self._metrics.read += ending.prompt_tokens - ending.cached_tokens
            self._metrics.first_token.add(ending.first_token_ms / 1000)


def estimate(messages: Sequence[Message]) -> int:
    """About how many tokens messages take; rather more than fewer."""
    return sum(
        TOKENS_A_MESSAGE + int(len(message["content"]) / CHARACTERS_A_TOKEN) + 1 for message in messages
    )


def _plain(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name not in BEYOND_OPENAI}


def _seconds(said: str) -> float:
    """Retry-After in seconds; 0 where it is a date or nothing."""
    return float(said) if said.strip().isdigit() else 0.0
