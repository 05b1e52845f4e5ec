"""A visitor's voice: picks a wording, fills its slots with what its side of the split may see, adds noise.

Names, order numbers, things and unknown countries are parted by a hash or a list: the evaluation asks with
those that training never says, so an answer which repeats them was copied and not remembered.
"""

from collections.abc import Callable
from functools import cache
from random import Random
from zlib import crc32

from training.mini import noise
from training.mini.desk import Desk, desk
from training.mini.grammar import Wordings, key

EVALUATION_TYPO = 0.05
ALIAS = 0.1  # of the mentions of a product are another word for it
INVENTED = 0.6  # of the names are made of syllables
LETTERS = "ABCDEFGHKLMNPRSTUVWXZ"  # that a code may start with


class Voice:
    """One visitor; `held_out` visitors speak only what training never hears."""

    def __init__(self, rng: Random, held_out: bool = False) -> None:
        self.rng = rng
        self.held_out = held_out
        self.desk: Desk = desk()
        self.typos = EVALUATION_TYPO if held_out else noise.TYPO
        self.exam: str | None = None  # the skeleton that the next sentence has to take

    def say(self, wordings: Wordings, **values: str) -> str:
        """One of the wordings as this visitor types it."""
        skeleton = noise.greet(self.rng, self._skeleton(wordings))
        return noise.write(self.rng, skeleton, self._aliased(values), self.typos)

    def _skeleton(self, wordings: Wordings) -> str:
        if self.held_out:
            skeleton, self.exam = self.exam or wordings.pick(self.rng, held_out=True), None
            return skeleton
        skeleton = wordings.pick(self.rng, held_out=False)
        while key(skeleton) in self.desk.held_out_keys:
            skeleton = wordings.pick(self.rng, held_out=False)
        reworded = noise.reword(self.rng, skeleton)
        return skeleton if key(reworded) in self.desk.held_out_keys else reworded

    def _aliased(self, values: dict[str, str]) -> dict[str, str]:
        names = self.desk.slots["product"].also.get(values.get("product", ""))
        if names and not self.held_out and self.rng.random() < ALIAS:
            return values | {"product": self.rng.choice(names)}
        return values

    def known(self, slot: str) -> str:
        return self.rng.choice(self.desk.slots[slot].known)

    def unknown(self, slot: str) -> str:
        """An entry that the desk has no facts about."""
        entries = self.desk.slots[slot]
        return self.rng.choice(entries.held_out if self.held_out else entries.unknown)

    def order(self) -> str:
        return self._mine(lambda: str(self.rng.randrange(10**3, 10 ** self.rng.choice((4, 4, 4, 5, 5, 6)))))

    def name(self) -> str:
        return self._mine(lambda: _name(self.rng))

    def item(self) -> str:
        return self._mine(lambda: _item(self.rng))

    def word(self) -> str:
        """Something to copy: a number, a name or a code."""
        kind = self.rng.random()
        if kind < 0.4:
            return self.order()
        if kind < 0.6:
            return self.name()
        if kind < 0.8:
            return self.item()
        return self._mine(lambda: f"{self.rng.choice(LETTERS)}{self.rng.randrange(10, 1000)}")

    def _mine(self, draw: Callable[[], str]) -> str:
        """Draws until the word is on this voice's side of the split."""
        word = draw()
        while is_held_out(word) != self.held_out:
            word = draw()
        return word


def is_held_out(word: str) -> bool:
    """Whether a number, a name or a thing belongs to the evaluation: one in eight does."""
    return crc32(word.lower().encode()) % 8 == 0


@cache
def _names() -> list[str]:
    return noise.words()["names"].split()


def _name(rng: Random) -> str:
    if rng.random() > INVENTED:
        return rng.choice(_names())
    syllables = noise.words()["syllables"]
    return "".join(rng.choice(syllables[part]) for part in ("start", "middle", "end"))


def _item(rng: Random) -> str:
    return f"{rng.choice(noise.words()['adjectives'])} {rng.choice(noise.words()['things'])}"
