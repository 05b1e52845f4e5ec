"""How much of the waiting prompts a step may read, and in which order they are read.

A step reads a slice of what waits to be read, and writes a token of every answer in the making. Its time is
the gap between two tokens that every visitor sees, so the slice follows the measured speed. Whatever it is,
no call holds less than a grain of a longer prompt: llama.cpp rounds otherwise in smaller ones, so that the
same question would be answered in other words on a busy day.
"""

import sys
from collections.abc import Sequence
from typing import Protocol, TypeVar

from backtalk.engine.weights import LARGEST_BATCH

GRAIN = 8  # tokens: calls of so many or more are computed alike, however a prompt is cut into them
LARGEST_CALL = LARGEST_BATCH - GRAIN  # tokens, since the last call takes up to a grain more
CALL = 6  # tokens that could be read in the time that a call takes besides, mostly to fetch the weights
READ_SECONDS = 0.1  # of a step that words wait for, or
WORTH_READING = 64  # tokens, where these take no longer than
LONGEST_READ_SECONDS = 0.5
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
    """How fast prompts are read here, and what follows from it."""

    def __init__(self) -> None:
        self.seconds_a_token = 0.0
        """Of reading, the call apart; 0 before anything was read."""

    def slice(self, amid_words: bool, alone: bool) -> int:
        """How many tokens of prompts a step may read.

        `amid_words`: whether answers are being written; `alone`: whether nobody waits for anything else.
        """
        if alone:
            return max(LARGEST_CALL, self._within(READ_SECONDS))
        if not amid_words:
            return max(WORTH_READING, self._within(READ_SECONDS))
        return max(GRAIN, self._within(READ_SECONDS), min(WORTH_READING, self._within(LONGEST_READ_SECONDS)))

    def _within(self, seconds: float) -> int:
        """Whole grains that are read in so many seconds."""
        if not self.seconds_a_token:
            return WORTH_READING
        return max(0, int(seconds / self.seconds_a_token - CALL)) // GRAIN * GRAIN

    def measured(self, read: int, seconds: float) -> None:
        """So many tokens of one prompt were read in `seconds`."""
        if read < GRAIN:
            return  # the end of a prompt says little about what comes before it
        now = seconds / (read + CALL)
        self.seconds_a_token = (self.seconds_a_token + now) / 2 if self.seconds_a_token else now

    def due(self, unread: int, asked_at: float) -> float:
        """When a prompt of so many tokens should be read at the latest; the earliest is read first."""
        return asked_at + PATIENCE * unread * self.seconds_a_token


class Unhurried(Pace):
    """Of an engine that nobody looks on at: all that waits is read at once.

    So which tokens are computed together follows from what was asked, and never from the machine's speed.
    """

    def slice(self, amid_words: bool, alone: bool) -> int:
        return sys.maxsize

    def measured(self, read: int, seconds: float) -> None:
        pass


def cut(unread: int, most: int) -> int:
    """How many tokens of a prompt are read: whole grains, about `most`; all, where less would stay."""
    return unread if unread < most + GRAIN else most // GRAIN * GRAIN


def share_out(readers: Sequence[R], tokens: int) -> list[tuple[R, int]]:
    """Which prompts are read, and by how many tokens: the one due first as far as possible, then the next."""
    shares = []
    for reader in sorted(readers, key=lambda reader: reader.due):
        if tokens < GRAIN:
            break
        share = cut(reader.unread, tokens)
        shares.append((reader, share))
        tokens -= share
    return shares
