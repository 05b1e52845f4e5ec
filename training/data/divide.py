"""Learned or held out: decided for each question alone, before anything is drawn, filtered or mixed.

So the side of a row depends on the seed, on the share and on its question (but for spelling), and on nothing
else: another limit, another filter or another source moves no row to the other side.
"""

from collections.abc import Iterable
from hashlib import sha256

from feedback.curate.similar import normalised
from training.data.example import Example


def divide(examples: Iterable[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """The examples to learn from, and those that are held out."""
    learned: list[Example] = []
    held_out: list[Example] = []
    for example in examples:
        (held_out if share and _drawn(seed, _family(example)) < share else learned).append(example)
    return learned, held_out


def _family(example: Example) -> str:
    """What stays together: a group where the recipe names a column for it, else the same question."""
    return f"group {example.group}" if example.group else normalised(example.asked[0])


def _drawn(seed: int, family: str) -> float:
    return int.from_bytes(sha256(f"{seed}|side|{family}".encode()).digest()[:8]) / 2**64
