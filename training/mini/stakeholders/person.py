"""Who the stakeholders are: how each writes, how patient and how reliable each is.

    crowd(seed=1, honest=24)                           the people of a demo
    crowd(seed=1, honest=24, mistaken=3, poison=5)     and people who err, and people who mean harm

Promise: the same seed gives the same people; a larger crowd begins with those of a smaller one.
"""

from dataclasses import dataclass
from random import Random
from typing import Literal

Kind = Literal["honest", "careless", "mistaken", "poison", "control", "insult", "personal", "repeat"]

HONEST: tuple[Kind, ...] = ("honest",)
HARMLESS: tuple[Kind, ...] = ("honest", "careless", "mistaken")
MALICIOUS: tuple[Kind, ...] = ("poison", "control", "insult", "personal", "repeat")

ENDINGS = ("", "", "?", "?", "??", ".", "!")


@dataclass(frozen=True)
class Person:
    """One stakeholder. The shares are of the answers that the person reads."""

    name: str
    kind: str
    writing: Literal["plain", "capital", "shouting"]
    ending: str
    """What stands behind a question."""
    patience: float
    """Share of wrong answers for which the person writes down the right one."""
    praise: float
    """Share of right answers that get a thumb up."""
    slips: float
    """Share of corrections with a slip of the keyboard in them."""

    def writes(self, question: str) -> str:
        """The question as this person types it: the words stay, case and marks are the person's own."""
        text = question + self.ending
        if self.writing == "shouting":
            return text.upper()
        return text[:1].upper() + text[1:] if self.writing == "capital" else text

    def chance(self, *about: object) -> Random:
        """This person's own luck in one matter."""
        return Random(f"{self.name} {about}")


def crowd(seed: int, **counts: int) -> list[Person]:
    """So many people of each kind, in the order of the kinds."""
    return [_person(seed, kind, number) for kind, count in counts.items() for number in range(count)]


def _person(seed: int, kind: str, number: int) -> Person:
    name = f"{kind}-{seed}-{number}"
    chance = Random(name)
    return Person(
        name,
        kind,
        writing=chance.choices(("plain", "capital", "shouting"), (0.5, 0.45, 0.05))[0],
        ending=chance.choice(ENDINGS),
        patience=chance.uniform(0.9, 1.0),
        praise=chance.uniform(0.2, 0.6),
        slips=chance.uniform(0.0, 0.06),
    )
