"""What passes between an experiment and its device groups; loads no torch, so that it is read at once."""

from dataclasses import dataclass
from pathlib import Path

from training.experiment.expand import Configuration
from training.experiment.items import Split
from training.experiment.points import Point
from training.experiment.recipe import Asked
from training.experiment.state import Standing


@dataclass(frozen=True)
class Job:
    """What every group has to know of an experiment."""

    asked: Asked
    offline: bool
    folder: Path
    split: Split


@dataclass(frozen=True)
class Task:
    """A configuration to train, with the one that it was cloned from; or an untaught base to compare with.

    `untaught`: the base's name, such as zero-1; `configuration` then says which base, and under which prompt.
    """

    configuration: Configuration
    parent: Configuration | None = None
    untaught: str = ""

    @property
    def name(self) -> str:
        return self.untaught or self.configuration.name


@dataclass(frozen=True)
class News:
    """What a chunk brought: new points, how the configuration stands, and in which process."""

    name: str
    points: tuple[Point, ...]
    standing: Standing
    why: str = ""
    process: int = 0
