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
ALIAS = 0.12  # of the mentions of an entry are another word for it
PLURAL = 0.15  # of the mentions of a product are of many
DIGITS = (4,) * 40 + (5,) * 26 + (6,) * 26 + (2, 2, 3, 3, 3, 7, 7, 8)  # of an order number in training
EVALUATION_DIGITS = (4, 4, 4, 5, 5, 6)
OF_LISTS = 0.5  # of the entries that the desk does not know are real ones, the others are invented
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
        skeleton = self._allowed(noise.greet, self._skeleton(wordings))
        invented = {slot for slot in values if slot in self.desk.slots and values[slot] not in _listed(slot)}
        values = {slot: self._said(slot, value) for slot, value in values.items()}
        if values.get("product", "").endswith("s") and not values["product"].endswith("ss"):
            skeleton = skeleton.replace(" a {product}", " {product}")
        return noise.write(self.rng, skeleton, values, self.typos, noise.FREE | invented)

    def _skeleton(self, wordings: Wordings) -> str:
        if self.held_out:
            skeleton, self.exam = self.exam or wordings.pick(self.rng, held_out=True), None
            return skeleton
        skeleton = wordings.pick(self.rng, held_out=False)
        while key(skeleton) in self.desk.held_out_keys:
            skeleton = wordings.pick(self.rng, held_out=False)
        return self._allowed(noise.reword, skeleton)

    def _allowed(self, change: Callable[[Random, str], str], skeleton: str) -> str:
        """The skeleton changed, unless that makes a held-out one of it."""
        changed = change(self.rng, skeleton)
        return skeleton if key(changed) in self.desk.held_out_keys and not self.held_out else changed

    def _said(self, slot: str, entry: str) -> str:
        """An entry as this visitor calls it."""
        if self.held_out or slot not in self.desk.slots:
            return entry
        chance = self.rng.random()
        names = self.desk.slots[slot].also.get(entry)
        if names and chance < ALIAS:
            return self.rng.choice(names)
        is_one = slot == "product" and (not entry.endswith("s") or entry.endswith("ss"))
        if is_one and chance > 1 - PLURAL and entry in self.desk.slots[slot].known:
            return entry + ("es" if entry.endswith("ss") else "s")
        return entry

    def known(self, slot: str) -> str:
        return self.rng.choice(self.desk.slots[slot].known)

    def unknown(self, slot: str) -> str:
        """An entry that the desk has no facts about; half of those in training exist nowhere else."""
        entries = self.desk.slots[slot]
        if self.held_out:
            return self.rng.choice(entries.held_out)
        if self.rng.random() < OF_LISTS:
            return self.rng.choice(entries.unknown)
        entry = _invented(self.rng, slot)
        while entry in _listed(slot):
            entry = _invented(self.rng, slot)
        return entry

    def order(self) -> str:
        digits = self.rng.choice(EVALUATION_DIGITS if self.held_out else DIGITS)
        return self._mine(lambda: str(self.rng.randrange(10 ** (digits - 1), 10**digits)))

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
    return _from_syllables(rng)


def _from_syllables(rng: Random) -> str:
    syllables = noise.words()["syllables"]
    return "".join(rng.choice(syllables[part]) for part in ("start", "middle", "end"))


def _item(rng: Random) -> str:
    return f"{rng.choice(noise.words()['adjectives'])} {rng.choice(noise.words()['things'])}"


@cache
def _listed(slot: str) -> frozenset[str]:
    """All that the data say of a slot, other words for its entries included."""
    entries = desk().slots[slot]
    also = (name for names in entries.also.values() for name in names)
    return frozenset((*entries.known, *entries.unknown, *entries.held_out, *also))


def _invented(rng: Random, slot: str) -> str:
    """A country, city, product or service that nobody has heard of."""
    words = noise.words()
    thing = rng.choice(words["things"])
    if slot == "service":
        return f"{thing} {rng.choice(words['works'])}"
    if slot == "product":
        return thing if rng.random() < 0.5 else f"{rng.choice(words['things'])} {thing}"
    return _from_syllables(rng) + (rng.choice(words["lands"]) if slot == "country" else "")
