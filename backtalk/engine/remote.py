"""An answer that streams from an OpenAI-compatible endpoint: its events, and the stream for its reader."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from socket import SHUT_RDWR, socket
from threading import Event, Lock, Thread
from typing import Any

from backtalk.engine import CANCELLED, FULL, STOPPED, Ending, Place
from backtalk.engine.reading import Reading
from backtalk.errors import BacktalkError, NetworkError

PAUSES = (0.5, 1.0, 2.0)  # seconds before the second, third and fourth try
LONGEST_PAUSE = 10.0  # seconds, whatever the endpoint asks for
REASONS = {"stop": STOPPED, "length": FULL}

Hold = Callable[[socket], None]
"""Is given the line as soon as it stands, so that one can hang up before the other side says a word."""


class Passing(NetworkError):
    """What may go better the next time; `seconds` is when, as far as the other side said."""

    def __init__(self, said: str, seconds: float = 0.0):
        super().__init__(said)
        self.seconds = seconds


class EndpointStream(Reading):
    """See backtalk.engine.Stream. `over` is told how it ended, with None for an error."""

    place: Place | None = None

    def __init__(
        self,
        open_answer: Callable[[Hold], HTTPResponse],
        over: Callable[["EndpointStream", Ending | None], None],
        pauses: Sequence[float] | None = None,
    ):
        self._open, self._over = open_answer, over
        self._pauses = PAUSES if pauses is None else pauses
        self._asked_at = time.perf_counter()
        super().__init__()
        self._cancelled = Event()
        self._holding = Lock()
        self._line: socket | None = None

    def start(self) -> "EndpointStream":
        Thread(target=self._work, name="endpoint", daemon=True).start()
        return self

    def cancel(self) -> None:
        """Hangs up, which is how the other side learns to stop."""
        self._cancelled.set()
        with self._holding:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(SHUT_RDWR)

    # ---- in a thread of its own from here on

    def _work(self) -> None:
        taken = _Taken(self._asked_at)
        try:
            if (answer := self._opened()) is not None:
                with answer:
                    for text in taken.texts(_events(answer)):
                        self.hand_over(text)
            how: Ending | Exception = taken.ending(self._cancelled.is_set())
        except (OSError, HTTPException, ValueError) as fault:
            how = taken.ending(True) if self._cancelled.is_set() else _broken_off(fault)
        except BacktalkError as fault:
            how = taken.ending(True) if self._cancelled.is_set() else fault
        self._over(self, how if isinstance(how, Ending) else None)
        self._pieces.put(how)

    def _opened(self) -> HTTPResponse | None:
        """The answer as it begins, after as many tries as it may take; None when cancelled meanwhile."""
        for pause in (*self._pauses, None):
            if self._cancelled.is_set():
                return None
            try:
                return self._open(self._hold)
            except Passing as fault:
                if pause is None:
                    tries = len(self._pauses) + 1
                    raise NetworkError(f"{fault} It was tried {tries} times. Ask again later.").called(
                        "endpoint_silent", tries=tries
                    ) from fault
                self._cancelled.wait(min(LONGEST_PAUSE, max(pause, fault.seconds)))
        return None

    def _hold(self, line: socket) -> None:
        with self._holding:
            self._line = line
            if self._cancelled.is_set():
                self._hang_up()


class _Taken:
    """What has come of an answer: tokens, times, why it ended."""

    def __init__(self, asked_at: float):
        self._asked_at = asked_at
        self._first_at = self._last_at = 0.0
        self._pieces = 0
        self._reason = ""
        self._usage: dict[str, Any] = {}

    def texts(self, events: Iterator[dict[str, Any]]) -> Iterator[str]:
        for event in events:
            if fault := event.get("error"):
                raise _broken_off(str(fault)[:200])
            self._usage = event.get("usage") or self._usage
            for choice in event.get("choices") or []:
                self._reason = choice.get("finish_reason") or self._reason
                if text := (choice.get("delta") or {}).get("content"):
                    self._last_at = time.perf_counter()
                    self._first_at = self._first_at or self._last_at
                    self._pieces += 1
                    yield text

    def ending(self, cancelled: bool) -> Ending:
        """Raises NetworkError where the answer stopped without saying that it was over."""
        if not (cancelled or self._reason):
            raise _broken_off("the connection ended")
        written = self._usage.get("completion_tokens") or self._pieces
        seconds = self._last_at - self._first_at
        details = self._usage.get("prompt_tokens_details") or {}
        return Ending(
            CANCELLED if cancelled else REASONS.get(self._reason, self._reason),
            prompt_tokens=self._usage.get("prompt_tokens", 0),
            cached_tokens=details.get("cached_tokens") or 0,
            completion_tokens=written,
            first_token_ms=round((self._first_at - self._asked_at) * 1000, 1) if self._first_at else 0.0,
            tokens_per_second=round((written - 1) / seconds, 1) if written > 1 and seconds > 0 else 0.0,
        )


def _events(answer: HTTPResponse) -> Iterator[dict[str, Any]]:
    """The JSON of each `data:` line, up to [DONE]; comments and other fields say nothing here."""
    while line := answer.readline():
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            yield json.loads(data)


def _broken_off(fault: Exception | str) -> NetworkError:
    return NetworkError(f"The endpoint broke the answer off ({fault}). Ask again.").called("broke_off")
