"""How much of the waiting prompts a step may read, and in which order they are read.

A step is one call of llama.cpp: a token of every answer in the making, and a slice of what is to be read. Its
time is the gap between two tokens that every visitor sees, so the slice follows the measured times.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

SHARED_SECONDS = 0.25  # a step is sized to take this long while others are being answered
ALONE_SECONDS = 0.5  # and this long while nobody is: it is then only the wait of a cancellation
SMALLEST_SLICE = 16  # tokens
PATIENCE = 4.0
"""A prompt is due after this many times the time that reading it takes: long ones wait for short ones, but
not for ever, since what comes later is due later."""


class Reading(Protocol):
    """A prompt that is not read to its end."""

    @property
    def unread(self) -> int: ...

    @property
    def due(self) -> float: ...


R = TypeVar("R", bound=Reading)


class Pace:
    """The size of a slice, in tokens, for steps with and without answers in them."""

    def __init__(self, largest: int):
        self._largest = largest
        self._slices = {True: SMALLEST_SLICE, False: SMALLEST_SLICE}
        self.seconds_a_token = 0.0
        """Of reading; 0 before anything was read."""

    def slice(self, writers: int) -> int:
        """How many tokens of prompts the next step may read beside `writers` answers."""
        return min(self._slices[writers > 0], self._largest - writers)

    def measured(self, writers: int, read: int, seconds: float) -> None:
        """A step that read `read` tokens of prompts took `seconds`."""
        shared = writers > 0
        if read < min(self._slices[shared], SMALLEST_SLICE):
            return  # the end of a prompt says little about whole slices
        target = SHARED_SECONDS if shared else ALONE_SECONDS
        fitting = int(read * min(2.0, max(0.5, target / max(seconds, 1e-6))))
        self._slices[shared] = max(SMALLEST_SLICE, min(self._largest, fitting))
        if not shared:
            now = seconds / read
            self.seconds_a_token = 0.7 * self.seconds_a_token + 0.3 * now if self.seconds_a_token else now

    def due(self, unread: int, asked_at: float) -> float:
        """When a prompt of so many tokens should be read at the latest; the earliest is read first."""
        return asked_at + PATIENCE * unread * self.seconds_a_token


def share_out(readers: Sequence[R], tokens: int) -> list[tuple[R, int]]:
    """Which prompts are read, and by how many tokens: the one due first as far as possible, then the next."""
    shares = []
    for reader in sorted(readers, key=lambda reader: reader.due):
        if tokens <= 0:
            break
        share = min(reader.unread, tokens)
        shares.append((reader, share))
        tokens -= share
    return shares
