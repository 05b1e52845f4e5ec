"""One device group (a GPU, or a share of the cores): a process that trains one configuration after the other.

    group = Group(job)
    group.begin(task)             a configuration, or an untaught base to compare with
    group.advance()               to the end of its next chunk: what was measured, and how it stands

Checkpoints, cards and answers go into the experiment's folder, so whoever begins a task again, here or in
another process, goes on from its last checkpoint. metrics.jsonl is written by the experiment alone.
"""

import os
from collections.abc import Callable
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.progress import Progress
from training.experiment.cloning import made_clone
from training.experiment.engines.task import Job, News, Task
from training.experiment.entrant import Entrant
from training.experiment.judge import Judge
from training.experiment.points import Point, Points
from training.experiment.prepare import Preparation, Prepared
from training.experiment.state import Standing
from training.watch import Stop


class Group:
    """The process of one group. Raises BacktalkError where it does not see the experiment's folder."""

    def __init__(self, job: Job) -> None:
        if not (job.folder / "recipe.json").is_file():
            raise BacktalkError(
                f"{os.uname().nodename} does not see {job.folder}. On several machines, set BACKTALK_HOME to "
                "a folder that all of them share."
            )
        self._search, self._new = job.asked.search, list[Point]()
        self._points = Points(job.folder, own=False)
        self._preparation = Preparation(job.asked, job.offline, Progress())
        self._preparation.folder = job.folder
        self._judge = Judge(self._search, job.folder, self._preparation, self._points, self._keep)
        self._judge.split = job.split
        self._begun: tuple[Task, Prepared] | None = None
        self._entrant: Entrant | None = None

    def begin(self, task: Task) -> None:
        """The next task, from where it stands in the experiment's folder."""
        self.leave()
        self._points.recall()
        prepared = self._prepared(task)
        self._judge.split = self._preparation.extend(self._judge.split, prepared)
        self._begun = task, prepared
        self._entrant = None if task.untaught else self._entered(prepared)

    def advance(self) -> News:
        """Takes a chunk; who is finished, and an untaught base, answers the test rows as well."""
        assert self._begun
        task, prepared = self._begun
        if self._entrant is None:
            return self._compare_untaught(task.name, prepared)
        entrant = self._entrant
        entrant.advance()
        if entrant.finished:
            self._examine(entrant.name, entrant.prepared, self._judge.taught)
        return self._news(entrant.name, entrant.standing, entrant.why)

    def leave(self) -> None:
        """Ends a training where it paused; it can be gone on with later."""
        if self._entrant:
            self._entrant.leave()
            self._entrant = None

    def _prepared(self, task: Task) -> Prepared:
        if task.parent is None:
            return self._preparation.add(task.configuration)
        parent = self._preparation.add(task.parent)
        return made_clone(self._preparation, task.configuration, parent, self._preparation.folder)

    def _entered(self, prepared: Prepared) -> Entrant:
        return Entrant(prepared, self._judge.bases, self._search, Stop(), Progress(), self._judge.compare)

    def _compare_untaught(self, name: str, prepared: Prepared) -> News:
        if not self._points.at(name, 0):
            self._judge.measure(name, prepared, self._judge.view(prepared), 0, None, 0.0)
        self._examine(name, prepared, self._judge.view)
        return self._news(name, "baseline", "")

    def _examine(self, name: str, prepared: Prepared, load: Callable[[Prepared], Any]) -> None:
        self._judge.examine(name, prepared, lambda: load(prepared))

    def _keep(self, point: Point) -> None:
        self._points.note(point)
        self._new.append(point)

    def _news(self, name: str, standing: Standing, why: str) -> News:
        new, self._new = tuple(self._new), []
        return News(name, new, standing, why, os.getpid())
