"""An experiment whose configurations are trials of Ray Tune: it decides where each runs, ASHA who goes on.

    with Cluster(address, workers).joined() as groups:
        engine = RayEngine(asked, folder, preparation, progress, stop, groups, offline)
        ...                                      as training.experiment.engine.Engine

A worker that is killed loses at most a chunk: Ray begins its trial again in another process, and that goes on
from the last checkpoint. What was measured, asked and decided is written down here, in one process, in the
same files as by the engine of one machine; so either engine goes on with what the other began.
"""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from backtalk.home import home
from backtalk.progress import Progress
from training.experiment.engine import Engine
from training.experiment.engines.task import Job, News, Task
from training.experiment.engines.with_ray import Groups, Trial, cloudpickle, tune
from training.experiment.entrant import Entrant
from training.experiment.prepare import Preparation
from training.experiment.recipe import Asked, Search
from training.watch import Stop

LIVES = 4  # times that a configuration's worker may die before it counts as failed
HANDED_ON = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TRANSFORMERS_VERBOSITY")
"""Of this process's environment; the workers of a cluster have one of their own."""


class RayEngine(Engine):
    """One experiment on the groups of a cluster."""

    def __init__(
        self,
        asked: Asked,
        folder: Path,
        preparation: Preparation,
        progress: Progress,
        stop: Stop,
        groups: Groups,
        offline: bool,
    ) -> None:
        super().__init__(asked, folder, preparation, progress, stop)
        self._groups, self._offline = groups, offline
        self._under_way: dict[str, str] = {}
        self._faults: dict[str, str] = {}
        self._compared: set[str] = set()
        self._asha_rungs = Asha(asked.search) if asked.search.early_stop == "asha" else None

    def run(self) -> bool:
        """Trains until nobody may take a step; False where it was interrupted before."""
        self.was_compared = self._all_are_compared()
        self.wishes.grant()
        self._remember_who_was_left_behind()
        self.tell("training")
        self._try_all()
        if self.stop.asked:
            self.tell("interrupted")
            return False
        self._measure_bases()
        self._make_up()
        return True

    # ---- asked by Ray Tune

    def next_task(self, trial: str) -> Task | None:
        """What a free group does next; None: nothing now. Untaught bases first, then whoever is least far."""
        self.wishes.grant(lambda name: name not in self._under_way.values())
        if self.stop.asked or len(self._under_way) >= self._groups.count:
            return None
        task = self._untaught() or self._least_far()
        if task is None and not self._under_way and self._name_more():
            task = self._least_far()
        if task:
            self._under_way[trial] = task.name
        return task

    @property
    def is_over(self) -> bool:
        """Whether no task is left, and none under way could bring more."""
        return self.stop.asked or not self._under_way

    def goes_on(self, news: News) -> bool:
        """Writes down what a chunk brought; whether its configuration takes another one."""
        self.hear(news)
        entrant = self._entrant(news.name)
        if entrant is None:
            return False
        self.wishes.grant(lambda name: name == news.name)
        self._halve(entrant, news)
        self._note_first_comparison()
        self.tell("training")
        return entrant.live

    def ended(self, trial: str, failed: bool) -> None:
        """A trial that is over; `failed`: its workers died too often, or met what nobody foresaw."""
        entrant = self._entrant(self._under_way.pop(trial, ""))
        if entrant and failed:
            why = f"its worker ended {LIVES} times, before the last time with: {self._faults.get(trial, '?')}"
            entrant.standing, entrant.why = "failed", why
            self.progress.done(f"{entrant.name} failed: {why}")
        elif entrant and entrant.standing == "running":
            entrant.standing = "waiting"

    def began_again(self, trial: str, fault: str) -> None:
        """Says that a worker ended too soon, and that nothing is lost but its chunk."""
        self._faults[trial] = fault
        name = self._under_way.get(trial, "")
        self.progress.done(f"{name}: its worker ended ({fault}); it goes on from its last checkpoint")

    # ---- the steps

    def _try_all(self) -> None:
        job = Job(self.asked, self._offline, self.folder, self.judge.split)
        place = self.folder / "ray"
        environment = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        environment["BACKTALK_HOME"] = str(home())
        try:
            tune.run(
                tune.with_parameters(Trial, job=job, environment=environment, directory=os.getcwd()),
                name="trials", storage_path=str(place.resolve()), trial_dirname_creator=str,
                resources_per_trial={"cpu": self._groups.cores, "gpu": self._groups.gpus},
                num_samples=-1, search_alg=Queue(self), scheduler=Turns(self), stop=Interrupted(self.stop),
                callbacks=[Deaths(self)], max_failures=LIVES - 1, raise_on_failed_trial=False,
                reuse_actors=True, verbose=0,
            )  # fmt: skip
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _untaught(self) -> Task | None:
        """A base that is not compared yet."""
        for (name, _), prepared in zip(self.baselines(), self.readings(), strict=False):
            if name not in self._compared and not self.points.at(name, 0):
                self._compared.add(name)
                return Task(prepared.configuration, self._parent(prepared.configuration.parent), name)
        return None

    def _least_far(self) -> Task | None:
        able = [one for one in self.entrants if one.live and one.name not in self._under_way.values()]
        if not able:
            return None
        entrant = min(able, key=lambda one: one.step)
        entrant.standing = "running"
        configuration = entrant.configuration
        return Task(configuration, self._parent(configuration.parent) if configuration.warm else None)

    def _parent(self, name: str) -> Any:
        entrant = self._entrant(name)
        return entrant.configuration if entrant else None

    def _entrant(self, name: str) -> Entrant | None:
        return next((one for one in self.entrants if one.name == name), None)

    def _halve(self, entrant: Entrant, news: News) -> None:
        """Early stopping, for those whose turn it is to be judged."""
        if self._asha_rungs is None:
            return
        passes = [
            self._asha_rungs.passes(one.configuration, one.step, one.bits_per_byte) for one in news.points
        ]
        if not all(passes) and entrant.live and not entrant.exempt:
            self._leave(entrant)

    def _remember_who_was_left_behind(self) -> None:
        """ASHA hears again, in the same order, what was measured in an earlier process."""
        if self._asha_rungs is None:
            return
        for point in self.points.all():
            passes = not point.step or self._asha_rungs.passes(
                point.configuration, point.step, point.bits_per_byte
            )
            entrant = self._entrant(point.configuration)
            if entrant and not passes and entrant.live and not entrant.exempt:
                self._leave(entrant)

    def _leave(self, entrant: Entrant) -> None:
        entrant.standing = "stopped early"
        entrant.why = f"not among the best of 1 in {self.asked.search.early_keep} at step {entrant.step}"


# ---- what Ray Tune asks


class Queue(tune.search.Searcher):
    """Which task is next."""

    def __init__(self, engine: RayEngine) -> None:
        super().__init__()
        self._engine = engine

    def suggest(self, trial_id: str) -> Any:
        """A trial's values; none for now, or none any more."""
        if task := self._engine.next_task(trial_id):
            return {"task": task}
        return self.FINISHED if self._engine.is_over else None

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The trial's group is free."""
        self._engine.ended(trial_id, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the experiment's folder has everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class Turns(tune.schedulers.FIFOScheduler):
    """Whether a trial takes another chunk."""

    def __init__(self, engine: RayEngine) -> None:
        super().__init__()
        self._engine = engine

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """CONTINUE or STOP."""
        goes_on = self._engine.goes_on(result["news"])
        return str(self.CONTINUE if goes_on else self.STOP)


class Asha:
    """Ray's ASHA, by the names of configurations: a trial that begins again is known to it."""

    def __init__(self, search: Search) -> None:
        self._asha = tune.schedulers.ASHAScheduler(
            time_attr="step", metric="bits_per_byte", mode="min", max_t=2**31,
            grace_period=search.first_rung, reduction_factor=search.early_keep, stop_last_trials=False,
        )  # fmt: skip
        self._known: set[str] = set()

    def passes(self, name: str, step: int, bits_per_byte: float) -> bool:
        """Whether a configuration may go on after so many steps."""
        trial = SimpleNamespace(trial_id=name)
        if name not in self._known:
            self._known.add(name)
            self._asha.on_trial_add(None, trial)
        told = {"step": step, "bits_per_byte": bits_per_byte}
        return bool(self._asha.on_trial_result(None, trial, told) != self._asha.STOP)


class Interrupted(tune.Stopper):
    """Ctrl-C."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Ends all trials; each is at most a chunk behind."""
        return self._stop.asked


class Deaths(tune.Callback):
    """Tells of workers that ended too soon."""

    def __init__(self, engine: RayEngine) -> None:
        self._engine = engine

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial that Ray begins again."""
        self._engine.began_again(trial.trial_id, _said(trial.pickled_error_file))


def _said(file: str | None) -> str:
    """The fault that Tune wrote down beside a trial, in a line; of one inside a worker, what it was there.

    `Trial.get_pickled_error` looks where Tune copies such files to in the end; while it runs they lie here.
    """
    if not file or not Path(file).is_file():
        return "no reason is known"
    fault = cloudpickle.loads(Path(file).read_bytes())
    cause = getattr(fault, "cause", None) or fault
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0][:200]}"
