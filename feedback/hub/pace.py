"""The pace that the Hub can bear: at once after a quiet time, then at growing intervals, so many a day.

pace = Pace()
if pace.seconds_left(commits_of_the_day) <= 0: ...; pace.went()
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

INTERVALS = (60.0, 120.0, 240.0, 480.0, 900.0)  # between commits while flags keep coming
MOST_COMMITS = 100  # a day and dataset: the Hub degrades after some thousand commits
FRUGAL_SECONDS = 1800.0  # between commits, once half of the day's are made: the rest then lasts for the day

Clock = Callable[[], float]


@dataclass
class Pace:
    """When the next commit to a dataset may go: at once after a quiet time, then at growing intervals."""

    clock: Clock = time.monotonic
    intervals: tuple[float, ...] = INTERVALS
    commits_a_day: int = MOST_COMMITS
    _step: int = 0
    _last: float = float("-inf")

    def seconds_left(self, commits_of_the_day: int) -> float:
        """How long to wait for the next commit; infinite where the day's budget is spent."""
        if commits_of_the_day >= self.commits_a_day:
            return float("inf")
        interval = self.intervals[max(0, self._step - 1)]
        if commits_of_the_day >= self.commits_a_day / 2:
            interval = max(interval, FRUGAL_SECONDS)
        return self._last + interval - self.clock()

    def went(self) -> None:
        """A commit was made, or tried in vain: the next one waits longer."""
        self._last = self.clock()
        self._step = min(self._step + 1, len(self.intervals))

    def nothing_waits(self) -> None:
        """Once nothing came for the longest interval, the next flag goes at once."""
        if self.clock() - self._last >= self.intervals[-1]:
            self._step, self._last = 0, float("-inf")
