"""In which order a run sees its rows: drawn once, for all steps, from the seed.

The whole run is one list of places, so that "go on after step 120" is nothing but a place in that list. Rows
are shuffled epoch by epoch. With buckets, the rows of some hundred batches are sorted by length, cut into
batches and the batches shuffled: a batch then holds rows of like length, and little of it is padding.
"""

import math
import random
from collections.abc import Iterator, Sequence

CHAPTER = (
    128  # batches among which rows are sorted by length: long enough to be even, short enough to be mixed
)


def steps_of(rows: int, steps: int | None, epochs: float | None, rows_per_step: int) -> int:
    """How many optimiser steps a run has; one epoch where neither is said."""
    if steps is not None:
        return steps
    return max(1, math.ceil(rows * (1.0 if epochs is None else epochs) / rows_per_step))


def order_of(lengths: Sequence[int], batches: int, size: int, seed: int, buckets: bool) -> list[int]:
    """The rows of `batches` batches of `size`, one after the other, as places in `lengths`.

    Every row comes once before one comes again; only the last chapter of a run may leave rows out.
    """
    draw = random.Random(seed)
    stream = _shuffled(len(lengths), draw)
    order: list[int] = []
    while len(order) < batches * size:
        count = min(CHAPTER, _chapter(len(lengths), size), batches - len(order) // size)
        chapter = [next(stream) for _ in range(count * size)]
        order += _bucketed(chapter, lengths, size, draw) if buckets else chapter
    return order


def _chapter(rows: int, size: int) -> int:
    """Batches in a chapter: an epoch at most, so that a row does not meet itself."""
    return max(1, rows // size)


def _shuffled(rows: int, draw: random.Random) -> Iterator[int]:
    places = list(range(rows))
    while True:
        draw.shuffle(places)
        yield from places


def _bucketed(chapter: list[int], lengths: Sequence[int], size: int, draw: random.Random) -> list[int]:
    sorted_places = sorted(chapter, key=lambda place: lengths[place])  # equal lengths stay shuffled
    batches = [sorted_places[start : start + size] for start in range(0, len(chapter), size)]
    draw.shuffle(batches)
    return [place for batch in batches for place in batch]
