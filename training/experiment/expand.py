"""Which configurations an experiment has: every combination of its lists, some of them, or those listed.

for configuration in expand(asked): configuration.name, configuration.changes
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from backtalk.errors import WordsError
from training.experiment.recipe import Asked

MOST = 512  # configurations of one experiment; a grid beyond is a slip


@dataclass(frozen=True)
class Configuration:
    """One of the things compared. `changes`: what tells it from the others, by dotted key."""

    name: str
    changes: Mapping[str, Any]
    parent: str = ""
    """The configuration that it was cloned from."""
    warm: int = 0
    """Steps of the parent whose weights it starts from; 0: it starts afresh."""

    @property
    def told(self) -> str:
        """The changes in words."""
        return ", ".join(f"{key} {shown(value)}" for key, value in self.changes.items()) or "as the recipe"


def expand(asked: Asked) -> list[Configuration]:
    """The configurations to start with; of Optuna's the first few. Raises WordsError."""
    search = asked.search
    if search.search == "optuna":
        from training.experiment.sampler import Sampler

        chosen: list[Mapping[str, Any]] = Sampler(asked).ask(min(search.at_once, search.trials))
    elif search.search == "listed":
        chosen = list(search.configurations)
    elif search.search == "random":
        chosen = _drawn(asked, search.trials)
    else:
        chosen = list(islice(_all(asked), MOST + 1))
    if len(chosen) > MOST:
        raise WordsError(
            f"The lists of the recipe make more than {MOST} configurations. Shorten them, or search: random."
        )
    return [Configuration(f"c{number}", changes) for number, changes in enumerate(chosen, start=1)]


def shown(value: Any) -> str:
    """A knob's value as tables show it."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "+".join(map(shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).rsplit("/", 1)[-1]


def _all(asked: Asked) -> Iterator[Mapping[str, Any]]:
    names = [one.name for one in asked.knobs]
    for values in product(*(one.values for one in asked.knobs)):
        yield dict(zip(names, values, strict=True))


def _drawn(asked: Asked, count: int) -> list[Mapping[str, Any]]:
    """Different combinations, drawn by the recipe's seed; all of them where there are no more."""
    draw = random.Random(int(asked.plain.get("seed") or 0) if not _is_list(asked, "seed") else 0)
    whole = 1
    for one in asked.knobs:
        whole *= len(one.values)
    places = draw.sample(range(whole), min(count, whole))
    return [_at(asked, place) for place in places]


def _at(asked: Asked, place: int) -> Mapping[str, Any]:
    """The combination of a number, without making those before it."""
    chosen = {}
    for one in reversed(asked.knobs):
        place, own = divmod(place, len(one.values))
        chosen[one.name] = one.values[own]
    return {one.name: chosen[one.name] for one in asked.knobs}


def _is_list(asked: Asked, name: str) -> bool:
    return any(one.name == name for one in asked.knobs)
