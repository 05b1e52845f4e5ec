"""A configuration on its way through an experiment: where it stands, and its turns.

entrant = Entrant(prepared, table)
entrant.advance()          to the end of its next chunk, or of its run
"""

from typing import Any

from backtalk.card import NAME as CARD
from backtalk.errors import BacktalkError
from backtalk.malloc import give_back_what_is_free
from backtalk.progress import Progress
from training import checkpoint, run
from training.experiment.baton import Lane
from training.experiment.expand import Configuration
from training.experiment.prepare import Prepared
from training.experiment.recipe import Search
from training.experiment.share import SharedBases
from training.experiment.state import Line, Standing
from training.experiment.turns import Compare, TakesTurns
from training.metrics import read_metrics
from training.watch import Stop


class _Named(Progress):
    """The live line of one configuration among others."""

    def __init__(self, name: str, shown: Progress) -> None:
        self._name, self._shown = name, shown

    def report(self, text: str) -> None:
        self._shown.report(f"{self._name} {text}")

    def done(self, text: str) -> None:
        self._shown.done(f"{self._name} {text}")


class Entrant:
    """One configuration. `stopped` and `exempt`: what people or successive halving said of it."""

    def __init__(
        self,
        prepared: Prepared,
        bases: SharedBases,
        search: Search,
        stop: Stop,
        progress: Progress,
        compare: Any,
    ) -> None:
        self.prepared = prepared
        self.standing: Standing = "waiting"
        self.why = ""
        self.stopped = self.exempt = False
        self._bases, self._search, self._stop = bases, search, stop
        self._progress = _Named(prepared.name, progress)
        self._compare: Compare = lambda model, step: compare(self, model, step)
        self._lane: Lane | None = None
        if self.finished:
            self.standing = "finished"

    @property
    def name(self) -> str:
        return self.prepared.name

    @property
    def configuration(self) -> Configuration:
        return self.prepared.configuration

    @property
    def finished(self) -> bool:
        return (self.prepared.ready.folder / CARD).exists()

    @property
    def live(self) -> bool:
        """Whether it may take steps."""
        return self.standing in ("waiting", "running") and not self.stopped

    @property
    def step(self) -> int:
        """How many steps are safe on disk."""
        ready = self.prepared.ready
        if self.finished:
            return ready.steps
        done = ready.first
        for stage, place in zip(ready.stages, ready.places(ready.parts), strict=True):
            found = checkpoint.checkpoints(place)
            if not found:
                break
            done += min(checkpoint.step_of(found[-1]), stage.steps)
        return done

    def advance(self) -> None:
        """Takes the steps of its next chunk. A fault of the recipe or the machine ends this one alone."""
        if self._lane is None or self._lane.over:
            self._lane = Lane(self.name, self._train)
        self.standing = "running"
        try:
            self._lane.advance()
        except BacktalkError as fault:
            self.standing, self.why = "failed", str(fault)
        give_back_what_is_free()
        if self._lane.over:
            self._lane = None
            if self.standing == "running":
                self.standing = "finished" if self.finished else "waiting"

    def leave(self) -> None:
        """Ends its training where it paused; it can be gone on with later."""
        if self._lane:
            self._lane.leaving = True
            self.advance()

    def line(self, best: float | None, seconds: float) -> Line:
        """How it stands, for a table; `best`: bits per byte of its last comparison."""
        rows = read_metrics(self.prepared.ready.folder)
        configuration = self.configuration
        return Line(
            self.name,
            dict(configuration.changes),
            configuration.told,
            self.standing,
            self.step,
            self.prepared.ready.steps,
            best,
            rows[-1]["loss"] if rows else None,
            seconds,
            configuration.parent,
            self.why,
        )

    def _train(self, lane: Lane) -> None:
        ready = self.prepared.ready

        def turns(trainer: Any, before: int) -> TakesTurns:
            return TakesTurns(
                lane, trainer.model, before, ready.steps, self._search, self._compare, self._stop
            )

        company = run.Company(self._bases.load, turns)
        run.train(ready, False, self._progress, lambda _: None, company)
