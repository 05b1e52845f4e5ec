"""Ray: a cluster, on this machine or by its address, and a task of an experiment as a trial of Ray Tune.

    with Cluster(address="", workers=2).joined() as groups: ...

No telemetry, no dashboard, a small object store; a cluster of this machine obeys this process alone. The only
importer of ray. Workers load this module, so that it loads no more: a worker that dies while torch is loaded
has to be one that Ray begins again.
"""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from backtalk.engine.machine import usable_cores
from backtalk.errors import BacktalkError
from training.experiment.engines.task import Job, Task

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_AIR_NEW_OUTPUT": "0",  # the other output takes no verbose=0
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a recipe's paths begin where the experiment was started
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # Backtalk keeps the numbers itself
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is heard by training.watch
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # the experiment's own folder is what it goes on from
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a worker that ends is told in a line, see trials.Deaths
}
ray: Any = import_module("ray")  # an extra that nothing else needs
tune: Any = import_module("ray.tune")
cloudpickle: Any = import_module("ray.cloudpickle")

STORE = 80 * 2**20  # bytes of Ray's shared memory: only tasks and numbers pass through it
LOCAL = 2  # workers of a machine without a GPU
SHORT = 40  # characters of a folder in which Ray's sockets find room for their names


@dataclass(frozen=True)
class Groups:
    """What a cluster has: so many groups, each with cores and GPUs."""

    count: int
    cores: int
    gpus: int

    @property
    def told(self) -> str:
        """In words, for the plan."""
        each = f"{self.gpus} GPU" if self.gpus else f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return f"on Ray, {self.count} configurations at once, each on {each}"


@dataclass(frozen=True)
class Cluster:
    """A cluster by its address, or else one on this machine for as long as it is needed.

    `workers`: groups; 0: one for each GPU; without GPUs one for each machine, and two on this machine alone.
    """

    address: str = ""
    workers: int = 0

    @contextmanager
    def joined(self) -> Iterator[Groups]:
        """Raises BacktalkError where none answers at the address."""
        usual = tempfile.gettempdir()
        place = Path(tempfile.mkdtemp(prefix="backtalk-ray-", dir=usual if len(usual) < SHORT else "/tmp"))
        try:
            self._join(place)
            yield self._groups()
        finally:
            ray.shutdown()
            _clear(place)

    def _join(self, place: Path) -> None:
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.address:
                ray.init(**quiet, address=self.address)
                return
            # Without the token nobody else on this machine talks to the cluster.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # read once in a process
            ray.init(
                **quiet, address="local", include_dashboard=False, _temp_dir=str(place),
                object_store_memory=STORE,
                num_cpus=max(usable_cores(), self.workers or LOCAL),  # more workers than cores share them
            )  # fmt: skip
        except Exception as fault:  # Ray has no class of its own for it
            raise BacktalkError(self._did_not_answer(fault)) from fault

    def _did_not_answer(self, fault: Exception) -> str:
        if self.address:
            return (
                f"No Ray cluster answers at {self.address}. Start one there with ray start --head, or leave "
                "--address out for a cluster on this machine."
            )
        return (
            f"Ray did not start on this machine ({str(fault).partition('. ')[0]}). Try again when it is less "
            "busy, or leave --engine out."
        )

    def _groups(self) -> Groups:
        there = ray.cluster_resources()
        cores, gpus = int(there.get("CPU", 1)), int(there.get("GPU", 0))
        machines = sum(bool(node["Alive"]) for node in ray.nodes())
        if gpus:
            count = min(self.workers or gpus, gpus)
            return Groups(count, max(1, cores // gpus), 1)
        count = self.workers or (machines if self.address else LOCAL)
        return Groups(min(count, cores), max(1, cores // count), 0)


def _clear(place: Path) -> None:
    """Removes a folder into which processes that are ending may still write."""
    for _ in range(10):
        shutil.rmtree(place, ignore_errors=True)
        if not place.exists():
            return
        time.sleep(0.5)


class Trial(tune.Trainable):
    """A task of a device group, as Ray Tune carries it out; the process is used again for the next one."""

    def setup(self, config: dict[str, Any], job: Job, environment: dict[str, str], directory: str) -> None:
        """Nothing is read yet: what dies here would not be begun again. `directory`: to work in."""
        self._job, self._environment, self._directory = job, environment, directory
        self._group: Any = None
        self._task: Task = config["task"]
        self._begun = False

    def step(self) -> dict[str, Any]:
        """A chunk."""
        if self._group is None:
            os.environ.update(self._environment)  # read by the libraries when they are loaded
            if os.path.isdir(self._directory):  # another machine of a cluster may not have it
                os.chdir(self._directory)
            from training.experiment.engines.group import Group

            self._group = Group(self._job)
        if not self._begun:
            self._group.begin(self._task)
            self._begun = True
        return {"news": self._group.advance()}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next task in this process; the one before may be begun by another."""
        self.cleanup()
        self._task, self._begun = new_config["task"], False
        return True

    def cleanup(self) -> None:
        """The end of the process, at a moment when no chunk runs."""
        if self._group:
            self._group.leave()
