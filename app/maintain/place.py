"""Where a round can be run, and which ones there are: here where the training is installed, else on the Hub.

place_of(maintainer)        Place("here"), Place("job", flavors=...), or Place("", why="...")
recipes()                   the round recipes that come along, by name
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.maintain.maintainer import Maintainer
from backtalk.deploy.job import DOLLARS_AN_HOUR
from backtalk.errors import WordsError, nearest
from backtalk.round.recipe import found

HERE, JOB = "here", "job"
NEEDED_HERE = ("torch", "transformers", "peft", "training")
RECIPES = Path("recipes")
DATASET = "BACKTALK_FLAGS_DATASET"


@dataclass(frozen=True)
class Place:
    """Where; `why` says why nowhere, and `flavors` is the hardware that a Job can have."""

    where: str
    why: str = ""
    flavors: tuple[str, ...] = ()

    @property
    def prices(self) -> dict[str, float]:
        """Dollars an hour of each."""
        return {name: DOLLARS_AN_HOUR[name] for name in self.flavors}


def place_of(maintainer: Maintainer) -> Place:
    """The best place that there is."""
    missing = [name for name in NEEDED_HERE if find_spec(name) is None]
    if not missing:
        return Place(HERE)
    if not recipes():
        return Place(
            "",
            "A round cannot be started from here: this copy serves the chat alone and has no training code. "
            "Run it where Backtalk is checked out: backtalk round, or backtalk deploy job.",
        )
    lacking = [] if os.environ.get(DATASET) else [f"no dataset of flags is named ({DATASET})"]
    lacking += [] if maintainer.has_token else ["there is no token of yours"]
    if lacking:
        return Place(
            "",
            f"A round cannot be started from here: {missing[0]} is not installed, and for a Job of the Hub "
            f"{' and '.join(lacking)}. Install it with make setup, or set what is missing.",
        )
    return Place(JOB, flavors=tuple(DOLLARS_AN_HOUR))


def recipes() -> dict[str, Path]:
    """The round recipes that come along, by name."""
    return {path.stem: path for path in sorted(found(RECIPES).glob("*_round.yaml"))}


def recipe_named(name: str) -> Path:
    """The path of one of them. Raises WordsError; a path from the page is never opened."""
    known = recipes()
    if name not in known:
        raise WordsError(f"There is no round recipe '{name[:60]}'.{nearest(name, known)}")
    return known[name]
