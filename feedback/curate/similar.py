"""Which texts say the same: exactly but for spelling, or nearly.

    normalised("  Where is my ORDER?! ")     "where is my order"
    first_alike(texts)                       for each text the first kept one that it is near to, or itself
    groups(texts)                            for each text the first text of its chain of near ones

Two texts are near when they share 80 % of their word pairs, hold the same numbers, and their `border` (what
else must be equal, such as a label) is equal: "within 30 days" is never a duplicate of "within 45 days".
MinHash only proposes pairs; each is then compared in full, so what is called near is near.
"""

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from rensa import RMinHash, RMinHashLSH  # type: ignore[import-untyped]

NEAR = 0.8  # share of word pairs in common
HASHES, BANDS = 192, 32  # at 0.8 they overlook about one pair in 16,000; at 0.3 they propose one in 40
SEED = 1  # of the hashes: it decides what is proposed, never what is near

# Scripts without spaces are taken character by character.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")
NUMBER = re.compile(r"(?<!\w)[^\W\d]*\d\w*")  # read in one pass, however long a word is
EDGES = " \t\n\r.,;:!?…\"'`´“”„‘’«»*_-"


class Text(NamedTuple):
    """A normalised text, and what else must be equal for another to be near it."""

    words: str
    border: Hashable = ""


class Likeness:
    """Remembers texts by place and finds the remembered ones that a text is near to."""

    def __init__(self) -> None:
        self._places = RMinHashLSH(threshold=NEAR, num_perm=HASHES, num_bands=BANDS)
        self._texts: dict[int, Text] = {}

    def add(self, place: int, text: Text) -> None:
        """Remembers the text under this place."""
        self._texts[place] = text
        self._places.insert(place, _sketch(text.words))

    def near(self, text: Text, among: Callable[[int], bool] = lambda place: True) -> Iterator[int]:
        """The places of the remembered texts that are near, lowest first, compared one by one as asked.

        Where `among` says no to a place, its text is not compared.
        """
        proposed = sorted(self._places.query(_sketch(text.words)))
        return (place for place in proposed if among(place) and are_near(text, self._texts[place]))


def normalised(text: str) -> str:
    """The text without what does not change its meaning: case, width, spaces, marks at its edges."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(EDGES)


def numbers(text: str) -> tuple[str, ...]:
    """The words with digits in the order in which they stand."""
    return tuple(NUMBER.findall(text))


def are_near(one: Text, other: Text) -> bool:
    """Whether two texts are near, compared in full."""
    if one.border != other.border or numbers(one.words) != numbers(other.words):
        return False
    mine, others = pairs(one.words), pairs(other.words)
    return len(mine & others) >= NEAR * len(mine | others)


def pairs(text: str) -> set[str]:
    """The pairs of neighbouring words; of a text with one word, that word."""
    words = WORD.findall(text)
    return {f"{left} {right}" for left, right in zip(words, words[1:], strict=False)} or {text}


def first_alike(texts: Sequence[Text]) -> list[int]:
    """For each text the place of the first kept text that it is near to; a kept one has its own."""
    kept, result = Likeness(), []
    for place, text in enumerate(texts):
        alike = next(kept.near(text), place)
        if alike == place:
            kept.add(place, text)
        result.append(alike)
    return result


def groups(texts: Sequence[Text]) -> list[int]:
    """For each text the first place of its group: near texts are together, and so are their near ones."""
    known, sets = Likeness(), Sets(len(texts))
    for place, text in enumerate(texts):

        def apart(other: int, place: int = place) -> bool:
            """Not in one group yet: of a question that thousands ask alike, few texts are compared."""
            return sets.first(other) != sets.first(place)

        for alike in known.near(text, apart):
            sets.join(place, alike)
        known.add(place, text)
    return [sets.first(place) for place in range(len(texts))]


class Sets:
    """Disjoint sets of whole numbers below `size`, each known by its lowest member."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))

    def first(self, place: int) -> int:
        """The lowest member of the set that `place` is in."""
        while self._above[place] != place:
            self._above[place] = self._above[self._above[place]]
            place = self._above[place]
        return place

    def join(self, one: int, other: int) -> None:
        """Makes one set of two."""
        low, high = sorted((self.first(one), self.first(other)))
        self._above[high] = low


@lru_cache(maxsize=64)  # a text is looked for, and then remembered
def _sketch(words: str) -> RMinHash:
    sketch = RMinHash(HASHES, SEED)
    sketch.update(list(pairs(words)))
    return sketch
