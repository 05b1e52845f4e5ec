"""A model behind an OpenAI-compatible address: http://host:8000/v1, or http://host:8000/v1#name-of-the-model.

The server renders the prompt, and says nothing of how likely a reference is: no bits per byte. A key, where
the server wants one, is taken from BACKTALK_ENDPOINT_KEY.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from backtalk.errors import NetworkError
from backtalk.models import Model
from training.evaluation.items import Item
from training.evaluation.scores import Answer

AT_ONCE = 8  # questions: servers of this kind answer several in one batch
TRIES = 4
PAUSE = 1.0  # seconds before the second try; each further pause is twice as long
PATIENCE = 300  # seconds for one answer
PASSING = {408, 425, 429, 500, 502, 503, 504}


class Endpoint:
    """See training.evaluation.subject.Subject."""

    gguf: Model | None = None

    def __init__(self, address: str, pause: float = PAUSE) -> None:
        self._address, _, name = address.partition("#")
        self._address = self._address.rstrip("/")
        self._pause = pause
        self.name = name or self._first_model()
        self.inputs: list[dict[str, Any]] = [{"role": "model", "endpoint": self._address, "name": self.name}]

    def ask(self, items: Sequence[Item], most: int) -> Iterator[tuple[Item, Answer]]:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            try:
                yield from threads.map(lambda item: (item, self._answer(item, most)), items)
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise

    def read(self, items: Sequence[Item]) -> Iterator[tuple[Item, float]]:
        return iter(())

    def close(self) -> None:
        """Nothing is held open."""

    def _answer(self, item: Item, most: int) -> Answer:
        asked = {
            "model": self.name,
            "messages": list(item.messages),
            "temperature": 0,
            "max_tokens": most,
        }
        reply = self._call("/chat/completions", asked)
        try:
            choice = reply["choices"][0]
            text = choice["message"]["content"] or ""
            used = (reply.get("usage") or {}).get("completion_tokens", 0)
            return Answer(text, int(used), choice.get("finish_reason") != "length")
        except (KeyError, IndexError, TypeError) as fault:
            raise self._unlike("an answer") from fault

    def _first_model(self) -> str:
        reply = self._call("/models")
        try:
            return str(reply["data"][0]["id"])
        except (KeyError, IndexError, TypeError) as fault:
            raise self._unlike("a list of models") from fault

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        for attempt in range(TRIES):
            try:
                return self._call_once(path, body)
            except HTTPError as fault:
                if fault.code not in PASSING or attempt == TRIES - 1:
                    said = fault.read(300).decode("utf-8", "replace").strip()
                    raise NetworkError(
                        f"{self._address}{path} answered {fault.code} {said}".rstrip()
                        + ". Check the address, "
                        "the model's name and BACKTALK_ENDPOINT_KEY."
                    ) from fault
            except (URLError, TimeoutError, ConnectionError) as fault:
                if attempt == TRIES - 1:
                    reason = getattr(fault, "reason", None) or fault
                    raise NetworkError(
                        f"{self._address} was not reached ({reason}). Start the server, then repeat."
                    ) from fault
            time.sleep(self._pause * 2**attempt)
        raise AssertionError("the last try returns or raises")

    def _call_once(self, path: str, body: dict[str, Any] | None) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("BACKTALK_ENDPOINT_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self._address + path, data, headers), timeout=PATIENCE) as reply:
            try:
                return json.load(reply)
            except ValueError as fault:
                raise self._unlike("JSON") from fault

    def _unlike(self, wanted: str) -> NetworkError:
        return NetworkError(
            f"{self._address} replied with something else than {wanted}. "
            "An OpenAI-compatible address was wanted; it mostly ends in /v1."
        )
