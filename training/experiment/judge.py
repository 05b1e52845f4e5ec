"""Measures configurations: on the development rows after every chunk, on the test rows once, at the end.

judge = Judge(asked.search, folder, preparation, points, keep)
judge.split = preparation.split(seed)
judge.compare(entrant, model, step)            a point of its curve, to `keep`
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.malloc import give_back_what_is_free
from training.evaluation.scores import Scored
from training.experiment.answers import examine, scores
from training.experiment.entrant import Entrant
from training.experiment.items import Split
from training.experiment.measure import Rows
from training.experiment.points import Point, Points
from training.experiment.prepare import Preparation, Prepared
from training.experiment.recipe import Search
from training.experiment.share import SharedBases
from training.machine import device
from training.metrics import read_metrics
from training.run import plan_for

TEST = "test"
"""Folder of the answers on the test rows, one file for each configuration."""


class Judge:
    """The rows to compare on, the bases that read them, and what came out."""

    split: Split

    def __init__(
        self,
        search: Search,
        folder: Path,
        preparation: Preparation,
        points: Points,
        keep: Callable[[Point], None],
    ) -> None:
        self.bases = SharedBases()
        self.keep = keep
        self._search, self._folder = search, folder
        self._preparation, self._points = preparation, points
        self._rows: dict[str, Rows] = {}

    def get_ready(self, prepared: Prepared) -> None:
        """Opens the base and reads the rows of a configuration, for whoever measures it."""
        self.view(prepared)
        self._rows_of(prepared)

    def view(self, prepared: Prepared) -> Any:
        """The untaught base of a configuration."""
        ready = prepared.ready
        stage = next(stage for stage in ready.stages if stage.steps)
        _, plan = plan_for(stage.recipe, ready.base, stage.width, lambda _: None)
        return self.bases.bare(prepared.recipe, ready.base, plan).to(device())

    def taught(self, prepared: Prepared) -> Any:
        """A finished configuration."""
        from peft import PeftModel

        return PeftModel.from_pretrained(self.view(prepared), str(prepared.ready.folder))

    def compare(self, entrant: Entrant, model: Any, step: int) -> None:
        """Measures a configuration on the development rows, unless that is known."""
        if self._points.at(entrant.name, step):
            return
        steps = [row for row in read_metrics(entrant.prepared.ready.folder) if row["step"] <= step]
        before = max((point.step for point in self._points.of(entrant.name) if point.step < step), default=0)
        recent = [row["loss"] for row in steps if row["step"] > before]
        loss = sum(recent) / len(recent) if recent else None
        seconds = round(sum(row["seconds"] for row in steps), 3)
        self.measure(entrant.name, entrant.prepared, model, step, loss, seconds)

    def measure(
        self, name: str, prepared: Prepared, model: Any, step: int, loss: float | None, seconds: float
    ) -> None:
        """A point of the development rows. Raises BacktalkError where they cost no number any more."""
        give_back_what_is_free()  # of the steps before it
        bits = self._rows_of(prepared).bits(model)
        if not all(map(math.isfinite, bits)):
            raise BacktalkError(
                f"What the rows cost after step {step} is not a number any more. Lower optimiser.rate."
            )
        size = sum(len(item.reference.encode()) for item in self.split.dev[prepared.reading])
        rounded = tuple(round(one, 6) for one in bits)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.keep(Point(name, step, sum(bits) / size, rounded, loss, seconds, now))

    def examine(
        self,
        name: str,
        prepared: Prepared,
        load: Callable[[], Any],
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Asks the test rows and keeps the answers; what was asked before is not asked again."""
        examine(
            name, load, self.split.test[prepared.reading], prepared.ready.base,
            self._preparation.renderer(prepared), self._folder / TEST, self._search.longest_answer, report,
        )  # fmt: skip

    def scores(self, name: str, prepared: Prepared) -> list[Scored]:
        """The test rows with answers and bits, after `examine`."""
        return scores(name, self.split.test[prepared.reading], self._folder / TEST)

    def _rows_of(self, prepared: Prepared) -> Rows:
        """The development rows as this configuration reads them."""
        reading = prepared.reading
        if reading not in self._rows:
            items = self.split.dev[reading]
            self._rows[reading] = Rows(items, self._preparation.renderer(prepared), prepared.ready.base)
        return self._rows[reading]
