"""What watches a run: the live line, metrics.jsonl, Ctrl-C, a loss that is no number any more."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState

from backtalk.errors import BacktalkError
from backtalk.progress import Progress
from training.machine import Kind, gigabytes, peak_memory
from training.metrics import Metrics

OF_VOTES = {
    "kl": "distance",
    "rewards/chosen": "reward_of_better",
    "rewards/rejected": "reward_of_worse",
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
}
"""What KTO and DPO measure besides, as TRL calls it and as metrics.jsonl does."""

SMOOTHING = 0.9  # of speed and time left in the live line, so that they can be read


class Stop:
    """Whether somebody asked to stop: Ctrl-C once ends the run after this step, twice at once."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Takes SIGINT and SIGTERM while the block runs, where signals can be taken: in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {sign: signal.signal(sign, self._ask) for sign in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for sign, action in before.items():
                signal.signal(sign, action)

    def _ask(self, *_: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@dataclass(frozen=True)
class Course:
    """Where a method stands in its chain.

    `before`: steps of the methods before it; `steps`: of the whole run; `every`: steps between two lines of
    metrics.jsonl.
    """

    method: str
    before: int
    steps: int
    every: int


class Watch(TrainerCallback):
    """Told of every step by the trainer. `tokens()` is how many tokens were read since the start."""

    def __init__(
        self,
        metrics: Metrics,
        progress: Progress,
        stop: Stop,
        tokens: Callable[[], int],
        device: Kind,
        course: Course,
    ):
        self._metrics, self._progress, self._stop = metrics, progress, stop
        self._tokens, self._device, self._course = tokens, device, course
        self._step = (0.0, 0.0)  # tokens and seconds of a step, smoothed: short and long rows take turns
        self._seen, self._began = 0, 0.0

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._seen, self._began = self._tokens(), time.monotonic()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._stop.asked:
            control.should_save = control.should_training_stop = True

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        if "loss" not in logs:
            return
        _check(logs["loss"], state.global_step)
        seconds, tokens = time.monotonic() - self._began, self._tokens() - self._seen
        course = self._course
        row = {
            "step": course.before + state.global_step,
            "method": course.method,
            "loss": logs["loss"],
            "rate": logs["learning_rate"],
            "gradient_norm": logs.get("grad_norm"),
            "tokens": tokens,
            "seconds": round(seconds, 4),
            **{told: logs[name] for name, told in OF_VOTES.items() if name in logs},
        }
        if state.global_step % course.every == 0 or state.global_step == state.max_steps:
            self._metrics.add(row)
        state.log_history.clear()  # metrics.jsonl has it; a checkpoint need not carry it once more
        self._show(row)

    def _show(self, row: dict[str, Any]) -> None:
        now = (float(row["tokens"]), float(row["seconds"]))
        self._step = _smoothed(self._step, now) if any(self._step) else now
        tokens, seconds = self._step
        speed, left = tokens / max(seconds, 1e-6), (self._course.steps - row["step"]) * seconds
        self._progress.report(
            f"{row['method']} step {row['step']:,}/{self._course.steps:,}  "
            f"loss {row['loss']:.4f}  rate {row['rate']:.1e}  "
            f"{speed:,.0f} tokens/s  {_clock(left)} left  {gigabytes(peak_memory(self._device))}"
        )


def _smoothed(before: tuple[float, float], now: tuple[float, float]) -> tuple[float, float]:
    tokens, seconds = (SMOOTHING * old + (1 - SMOOTHING) * new for old, new in zip(before, now, strict=True))
    return tokens, seconds


def _check(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise BacktalkError(
            f"The loss of step {step} is not a number any more. Lower optimiser.rate or raise "
            "schedule.warmup; then the recipe is another one and begins anew."
        )


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
