"""`metrics.jsonl` of an experiment: every comparison on the development rows, and the truth about its curves.

One line for a configuration at a step: configuration, step, bits_per_byte, bits (of each development row, in
the order of items.jsonl), loss (of the steps since the last line), seconds (of training so far), at.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from training.evaluation.kept import whole_lines

NAME = "metrics.jsonl"


@dataclass(frozen=True)
class Point:
    """A configuration at a step."""

    configuration: str
    step: int
    bits_per_byte: float
    bits: tuple[float, ...]
    loss: float | None
    seconds: float
    at: str


class Points:
    """The points of an experiment; one that is measured again after a kill replaces itself.

    `own`: this process writes the file, and mends a last line that a kill cut short. Of others it may be that
    they look while a line is written.
    """

    def __init__(self, folder: Path, own: bool = True) -> None:
        self._path = folder / NAME
        self._found: dict[tuple[str, int], Point] = {}
        if own:
            list(whole_lines(self._path))
        self.recall()

    def recall(self) -> None:
        """Reads what stands in the file by now."""
        text = self._path.read_bytes() if self._path.is_file() else b""
        for line in text[: text.rfind(b"\n") + 1].splitlines():
            row = json.loads(line)
            self.note(Point(**{**row, "bits": tuple(row["bits"])}))

    def add(self, point: Point) -> None:
        """Adds a point, on disk at once."""
        self.note(point)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(point)) + "\n")

    def at(self, configuration: str, step: int) -> Point | None:
        return self._found.get((configuration, step))

    def of(self, configuration: str) -> list[Point]:
        """The curve of a configuration."""
        own = [point for point in self._found.values() if point.configuration == configuration]
        return sorted(own, key=lambda point: point.step)

    def last(self, configuration: str) -> Point | None:
        curve = self.of(configuration)
        return curve[-1] if curve else None

    def note(self, point: Point) -> None:
        """Adds a point that another process writes down."""
        self._found[point.configuration, point.step] = point

    def all(self) -> list[Point]:
        """In the order in which they were first measured."""
        return list(self._found.values())
