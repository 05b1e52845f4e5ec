"""Several trainings in one process, of which one runs at a time: each in a lane, the baton handed over.

    lane = Lane("c1", work)          work(lane) runs in a thread, and calls lane.pause() now and then
    lane.advance()                   runs it until it pauses or ends

A trainer's loop cannot be left and entered again, so each has a thread that waits where it paused. What
libraries keep once for the process (random numbers, accelerate's place in the data) is put away when a lane
pauses and put back when it goes on: so each lane computes what it would alone.
"""

import gc
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import torch
from accelerate.state import GradientState

LOADED_LATE = ("training.sft", "matplotlib.figure", "matplotlib.backends.backend_agg")
"""Load what trainings need of libraries: once for all of them, and for processes forked from this one."""


class Lane:
    """Something that runs in turns."""

    def __init__(self, name: str, work: Callable[["Lane"], None]):
        self.name = name
        self.over = False
        self.leaving = False
        """Set from outside: at its next turn the work should end by itself."""
        self._work = work
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        # A daemon: where the process ends in the midst, nobody waits for lanes that are paused.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._surroundings: dict[str, Any] | None = None
        self._fault: BaseException | None = None

    def advance(self) -> None:
        """Runs it until it pauses or ends. Raises what the work raised."""
        outside = _captured()
        _restore(self._surroundings)
        if self._surroundings is None:
            self._thread.start()
        self._go.release()
        self._back.acquire()
        self._surroundings = _captured()
        _restore(outside)
        if self._fault:
            raise self._fault

    def pause(self) -> None:
        """Called by the work: lets others run, and returns when it is its turn again."""
        self._back.release()
        self._go.acquire()

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._work(self)
        except BaseException as fault:  # told to whoever gave the turn
            self._fault = fault
        finally:
            self.over = True
            self._back.release()


@contextmanager
def libraries_set_aside() -> Iterator[None]:
    """Trainers look for garbage when they begin and when they end. What the libraries made before is left out
    of it: to look through half a million things that stay took as long as a step, twice for each trainer.
    """
    for name in LOADED_LATE:
        import_module(name)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _captured() -> dict[str, Any]:
    """What belongs to the process and has to follow a lane."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "accelerate": dict(GradientState._shared_state),
        "threads": torch.get_num_threads(),
    }


def _restore(state: dict[str, Any] | None) -> None:
    """Puts that back; a lane that begins finds accelerate as in a fresh process."""
    GradientState._shared_state.clear()
    if state is None:
        return
    GradientState._shared_state.update(state["accelerate"])
    if torch.get_num_threads() != state["threads"]:  # of another batch size
        torch.set_num_threads(state["threads"])
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
