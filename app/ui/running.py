"""The answers that are being written, by who asked and under which id, so that they can be stopped."""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from backtalk.errors import WordsError

STOPS_KEPT = 256  # a stop may arrive before its answer has begun
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Stoppable(Protocol):
    """One answer in the making, or two side by side."""

    def cancel(self) -> None: ...


class Running:
    """Knows what runs; `holding` it while it does makes it stoppable."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], Stoppable] = {}
        self._stopped: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, visitor: str, request_id: str, answer: Stoppable) -> Iterator[None]:
        key = (visitor, request_id)
        with self._lock:
            self._answers[key] = answer
            stopped_before = key in self._stopped
        if stopped_before:
            answer.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._answers.pop(key, None)

    def stop(self, visitor: str, request_id: str) -> None:
        key = (visitor, request_id)
        with self._lock:
            self._stopped[key] = None
            while len(self._stopped) > STOPS_KEPT:
                self._stopped.popitem(last=False)
            answer = self._answers.get(key)
        if answer:
            answer.cancel()

    def stop_all(self) -> None:
        for answer in list(self._answers.values()):  # asked for by a signal, which must not wait for the lock
            answer.cancel()


def request_id(request: dict[str, Any]) -> str:
    """The id under which the page may stop what it asks for. Raises WordsError for none."""
    value = request.get("request")
    if not isinstance(value, str) or not REQUEST_ID.fullmatch(value):
        raise WordsError("The request has no valid id: 8 to 64 letters, digits, _ or -.").called(
            "out_of_step"
        )
    return value
