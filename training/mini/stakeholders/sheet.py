"""Fact sheets: what a person holds to be true of Tarn & Trail, and whether an answer says it.

Some facts changed since the model was taught, in five batches of twelve. A sheet that is up to date to batch
2 has the truth of batches 1 and 2; what changes later has not changed yet, and holds as it was taught.
"""

import re
from dataclasses import dataclass
from random import Random

from training.mini.desk import Fact, desk
from training.mini.questions import says

BATCHES = 5
_NUMBER = re.compile(r"\d+")
_OTHER_WORDS = ("Red Rocket", "Sundays", "Silver Parcel", "Mondays")


@dataclass(frozen=True)
class FactSheet:
    """What holds after the changes of batches 1 to `batch`."""

    batch: int

    def value(self, fact: Fact) -> str:
        """What this sheet says of the fact."""
        return fact.truth if 0 < fact.batch <= self.batch else fact.taught

    def answer(self, fact: Fact) -> str:
        """The desk's own sentence with that value: what people write as a correction."""
        return fact.says(self.value(fact))

    def is_right(self, fact: Fact, answer: str) -> bool:
        """Whether the answer says the value, and of the right country, product, city or service."""
        return all(says(answer, text) for text in (self.value(fact), fact.entry) if text)


def changed_facts(batch: int) -> list[Fact]:
    """The facts that change in a batch, in the order of the desk."""
    return [fact for fact in desk().facts() if fact.batch == batch]


def current_facts() -> list[Fact]:
    """The facts that never change."""
    return [fact for fact in desk().facts() if not fact.batch]


def wrong_value(fact: Fact, chance: Random) -> str:
    """A value that the fact has never had: another number, or another name where it has none."""
    known = {fact.taught, fact.truth}
    while True:
        number = str(chance.randrange(2, 100))
        value = _NUMBER.sub(number, fact.truth, count=1)
        if value == fact.truth:
            value = chance.choice(_OTHER_WORDS)
        if value not in known:
            return value
