"""What people asked of an experiment, done between two chunks, and held again by a later process.

wishes = Wishes(engine)
wishes.recall()            what was done in an earlier process is so again
wishes.grant()             what was asked since is done now
"""

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from training.experiment.cloning import made_clone, weights_kept
from training.experiment.control import Done, Request, done, history, waiting
from training.experiment.entrant import Entrant
from training.experiment.expand import Configuration

if TYPE_CHECKING:
    from training.experiment.engine import Engine


class Wishes:
    """The stops, resumes and clones of one experiment."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._to_recall: list[Done] = []

    def recall(self) -> None:
        """Clones are there again, who was stopped stays so."""
        self._to_recall = [line for line in history(self._engine.folder) if not line.refused]
        self.recall_known()

    def grant(self, now: Callable[[str], bool] = lambda name: True) -> None:
        """Does what was asked and is not done yet, oldest first; `now`: of which configurations."""
        for request in waiting(self._engine.folder):
            if now(request.configuration):
                self._do(request)

    def _do(self, request: Request) -> None:
        """Does what was asked; what cannot be done is written down with the reason."""
        entrant = next((one for one in self._engine.entrants if one.name == request.configuration), None)
        if entrant is None:
            refused = f"there is no configuration {request.configuration}"
            self._told(done(self._engine.folder, request, 0, refused=refused))
            return
        try:
            line = (
                self._clone(request, entrant) if request.action == "clone" else self._switch(request, entrant)
            )
        except BacktalkError as fault:
            line = done(self._engine.folder, request, entrant.step, refused=str(fault))
        self._told(line)

    def _switch(self, request: Request, entrant: Entrant) -> Done:
        if request.action == "stop" and not entrant.live:
            raise BacktalkError(f"{entrant.name} is {entrant.standing} and takes no steps")
        if request.action == "resume" and entrant.standing in ("finished", "running") and not entrant.stopped:
            raise BacktalkError(f"{entrant.name} is {entrant.standing}; there is nothing to resume")
        entrant.leave()
        line = done(self._engine.folder, request, entrant.step)
        self._hold(line)
        return line

    def _clone(self, request: Request, parent: Entrant) -> Done:
        name = self.free_name()
        warm = parent.step if request.warm else 0
        configuration = Configuration(
            name, {**parent.configuration.changes, **request.changes}, parent.name, warm
        )
        if warm:
            weights_kept(parent.prepared, self._engine.folder / f"{name}.start")
        made = made_clone(self._engine.preparation, configuration, parent.prepared, self._engine.folder)
        # What is off shows here, before anything is written down.
        self._engine.preparation.extend(self._engine.judge.split, made)
        line = done(self._engine.folder, request, parent.step, made=name, warm=warm)
        self._hold(line)
        return line

    def _hold(self, line: Done) -> None:
        """What a line of the history says is so from now on."""
        by_name = {one.name: one for one in self._engine.entrants}
        entrant = by_name[line.request.configuration]
        if line.request.action == "clone":
            configuration = Configuration(
                line.made, {**entrant.configuration.changes, **line.request.changes}, entrant.name, line.warm
            )
            made = made_clone(self._engine.preparation, configuration, entrant.prepared, self._engine.folder)
            self._engine.judge.split = self._engine.preparation.extend(self._engine.judge.split, made)
            self._engine.enter(made)
        elif line.request.action == "stop":
            entrant.stopped, entrant.why = True, f"stopped by {line.request.by} at step {line.step}"
            entrant.standing = "stopped" if not entrant.finished else entrant.standing
        else:
            entrant.stopped, entrant.exempt, entrant.why = False, True, ""
            entrant.standing = "finished" if entrant.finished else "waiting"

    def _told(self, line: Done) -> None:
        request = line.request
        what = f"{request.by} asked to {request.action} {request.configuration}"
        came = f": {line.refused}" if line.refused else f" at step {line.step}"
        self._engine.progress.done(what + came + (f", {line.made}" if line.made else ""))

    def recall_known(self) -> None:
        """Holds again what was done, as far as it is about configurations that are named by now."""
        names = {one.name for one in self._engine.entrants}
        while self._to_recall and self._to_recall[0].request.configuration in names:
            self._hold(self._to_recall.pop(0))
            names = {one.name for one in self._engine.entrants}

    def free_name(self) -> str:
        """The first that neither a configuration has nor a clone that is still to be recalled."""
        taken = {one.name for one in self._engine.entrants} | {line.made for line in self._to_recall}
        return next(name for number in count(1) if (name := f"c{number}") not in taken)
