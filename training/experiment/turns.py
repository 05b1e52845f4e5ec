"""What a configuration's trainer is told: when a chunk is over, and that it is another's turn then.

A chunk ends with a checkpoint; only when that is whole the configuration is compared, and pauses.
"""

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState

from training.experiment.baton import Lane
from training.experiment.recipe import Search
from training.watch import Stop

Compare = Callable[[Any, int], None]
"""Measures a model after so many steps, unless that is known already."""


class TakesTurns(TrainerCallback):
    """`before`: steps of the methods before this one; `steps`: of the whole configuration."""

    def __init__(
        self, lane: Lane, model: Any, before: int, steps: int, search: Search, compare: Compare, stop: Stop
    ) -> None:
        self._lane, self._model, self._before, self._steps = lane, model, before, steps
        self._search, self._compare, self._stop = search, compare, stop

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A process that was killed between checkpoint and comparison left this one out."""
        if state.global_step and self._ends_chunk(state):
            self._compare(self._model, self._before + state.global_step)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._stop.asked:
            control.should_save = control.should_training_stop = True
        elif self._ends_chunk(state):
            control.should_save = True

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not self._ends_chunk(state):
            return
        step = self._before + state.global_step
        self._compare(self._model, step)
        if step < self._steps:
            self._lane.pause()
            control.should_training_stop = control.should_training_stop or self._lane.leaving

    def _ends_chunk(self, state: TrainerState) -> bool:
        step = self._before + int(state.global_step)
        return self._search.ends_chunk(step) or step == self._steps
