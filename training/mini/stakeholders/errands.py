"""Errands: who asks what. A question that is on many minds is asked by several people in the same words.

    errands(seed=1, facts, people, askers=4)      without end; the first 200 are those of a round

Three in four questions about a fact that changes are in words that the bundled model never heard (asked.yaml;
its writers saw neither corpus nor evaluation), the others as in its corpus, and none as in the evaluation.
People change case and marks and no more, so that what several of them say can agree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from random import Random

import yaml

from training.mini.desk import Fact, Topic, desk
from training.mini.grammar import Wordings, key
from training.mini.stakeholders.person import Person

ASKERS = 4  # people who ask the same
OWN = 0.75  # of the questions about a fact that changes, while there are any: in words that no corpus has

ASKED = Path(__file__).with_name("asked.yaml")


@dataclass(frozen=True)
class Errand:
    """A person's question about a fact, or about a matter on which the model has a bad habit."""

    person: Person
    about: Fact | Topic
    question: str
    seed: int
    """Of the answer: the same errand gets the same one."""


def errands(
    seed: int, matters: Sequence[Fact | Topic], people: Sequence[Person], askers: int = ASKERS
) -> Iterator[Errand]:
    """Errands without end: the matters in turn, each time in other words, asked by the next people in turn.

    A wording comes once; when a matter has no more of them it is passed over. Everybody's turn comes equally
    often. `people` are at least `askers`. What is asked follows from seed and matters, whoever asks it.
    """
    chance, turns, asked = Random(f"errands {seed}"), Random(f"turns {seed}"), set[str]()
    order, waiting, number = list(matters), list[Person](), count(seed * 1_000_000)
    while order:
        chance.shuffle(order)
        for matter in list(order):
            question = _fresh(chance, matter, asked)
            if not question:
                order.remove(matter)
                continue
            for person in _next(askers, waiting, people, turns):
                yield Errand(person, matter, person.writes(question), next(number))


def _next(count: int, waiting: list[Person], people: Sequence[Person], chance: Random) -> list[Person]:
    """Takes the next people out of those who wait; when too few do, everybody waits again."""
    if len(waiting) < count:
        waiting += chance.sample(
            [person for person in people if person not in waiting], len(people) - len(waiting)
        )
    chosen, waiting[:] = waiting[:count], waiting[count:]
    return chosen


def _fresh(chance: Random, matter: Fact | Topic, asked: set[str]) -> str:
    """A wording of the matter that nobody has used yet; empty where many tries found none."""
    for _ in range(200):
        question = wording(chance, matter)
        if key(question) not in asked:
            asked.add(key(question))
            return question
    return ""


def wording(chance: Random, matter: Fact | Topic) -> str:
    """One of the matter's wordings: people's own, or one of training with its slot filled."""
    own = own_wordings().get(matter.id, ())
    if own and chance.random() < OWN:
        return chance.choice(own)
    wordings, slot = _wordings(matter)
    skeleton = wordings.pick(chance, held_out=False)
    while key(skeleton) in desk().held_out_keys:
        skeleton = wordings.pick(chance, held_out=False)
    return skeleton.replace(f"{{{slot}}}", matter.entry) if isinstance(matter, Fact) and slot else skeleton


@cache
def own_wordings() -> dict[str, list[str]]:
    """By fact, how people ask who never saw the corpus."""
    wordings: dict[str, list[str]] = yaml.safe_load(ASKED.read_text(encoding="utf-8"))
    return wordings


def _wordings(matter: Fact | Topic) -> tuple[Wordings, str]:
    if isinstance(matter, Topic):
        return matter.wordings, ""
    if not matter.family:
        return desk().singles[matter.id][1], ""
    family = desk().families[matter.family]
    return family.wordings, family.slot
