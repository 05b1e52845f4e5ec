"""How much of the waiting prompts a step may read, and in which order they are read.

A step writes a token of every answer in the making, and reads a slice of what waits to be read. Its time is
the gap between two tokens that every visitor sees, so the slice follows the measured speed. Prompts are cut
at the same places whatever the speed: llama.cpp rounds otherwise where a call does not hold whole tiles, so
that the same question would be answered in other words on a busy day.
"""

import sys
from collections.abc import Sequence
from typing import Protocol, TypeVar

from backtalk.engine.weights import LARGEST_BATCH

READ_SECONDS = 0.1  # of a step, though at least one tile is read
TILES = (64, 32, 16)  # tokens; llama.cpp computes 64 together, faster than fewer
TILES_ALONE = 2  # at least, where nobody's words stand still meanwhile: one at a time is 4 % slower
LONGEST_TILE_SECONDS = 0.7  # where one takes longer while words are written, tiles are halved
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
        """Of reading; 0 before anything was read."""

    def tile(self, amid_words: bool) -> int:
        """Tokens whose end is where a call may end. `amid_words`: whether answers are being written."""
        if not amid_words:
            return TILES[0]
        fast = (tile for tile in TILES if tile * self.seconds_a_token <= LONGEST_TILE_SECONDS)
        return next(fast, TILES[-1])

    def slice(self, amid_words: bool) -> int:
        """How many tokens of prompts a step may read."""
        tile = self.tile(amid_words)
        tiles = int(READ_SECONDS / (tile * self.seconds_a_token)) if self.seconds_a_token else 1
        return max(1 if amid_words else TILES_ALONE, tiles) * tile

    def measured(self, read: int, seconds: float) -> None:
        """So many tokens of one prompt were read in `seconds`."""
        if read < TILES[-1]:
            return  # the end of a prompt says little about whole tiles
        now = seconds / read
        self.seconds_a_token = (self.seconds_a_token + now) / 2 if self.seconds_a_token else now

    def due(self, unread: int, asked_at: float) -> float:
        """When a prompt of so many tokens should be read at the latest; the earliest is read first."""
        return asked_at + PATIENCE * unread * self.seconds_a_token


class Unhurried(Pace):
    """Of an engine that nobody looks on at: all that waits is read at once.

    So which tokens are computed together follows from what was asked, and never from the machine's speed.
    """

    def tile(self, amid_words: bool) -> int:
        return TILES[0]

    def slice(self, amid_words: bool) -> int:
        return sys.maxsize

    def measured(self, read: int, seconds: float) -> None:
        pass


def cut(at: int, tokens: int, tile: int) -> int:
    """How many of the next `tokens` of a prompt, of which `at` are read, one call takes: to the end of a tile
    that was begun, else whole tiles; what is left at the end is a call of its own.
    """
    if begun := at % tile:
        return min(tokens, tile - begun)
    return min(tokens, LARGEST_BATCH) // tile * tile or tokens


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
