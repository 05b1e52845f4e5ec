"""Progress is a guest: the loop says where it is, and this file decides how that looks.

On a terminal it is one live line; elsewhere (a log, a pipe) a plain line every few seconds. It goes to
stderr, so that stdout holds results alone. Nothing ever reads it back: numbers that matter go into a card.
"""

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

SECONDS_BETWEEN_LINES = 5.0
CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Where the work stands: any number of `report(...)`, then one `done(...)`."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._live = self._stream.isatty()
        self._shown_at = float("-inf")

    def report(self, text: str) -> None:
        """Shows `text` as the present state; between two lines of a log, most reports are left out."""
        if self._live:
            columns = shutil.get_terminal_size().columns
            self._write(CLEAR_LINE + text[: columns - 1])
        elif self._clock() - self._shown_at >= SECONDS_BETWEEN_LINES:
            self._shown_at = self._clock()
            self._write(text + "\n")

    def done(self, text: str) -> None:
        """Ends the live line with `text`, which is always shown."""
        self._write((CLEAR_LINE if self._live else "") + text + "\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
