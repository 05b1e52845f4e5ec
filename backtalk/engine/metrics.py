"""What the engine did since it was loaded, and what it does now: numbers for an operator."""

from bisect import bisect_left
from dataclasses import dataclass, field

FIRST_TOKEN_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@dataclass
class Histogram:
    """How often a value was at most each of `bounds`; the last count is of larger ones."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass
class Metrics:
    """Counts since the start, but for what says that it is now. Times in seconds, contexts in tokens."""

    queued: int = 0
    """answers that wait for their turn, now"""
    active: int = 0
    """answers in the making, now"""
    asked: int = 0
    refused: int = 0
    """were told that the queue is full, or waited too long"""
    ended: dict[str, int] = field(default_factory=dict)
    """answers by why they ended; "error" among them"""
    read: int = 0
    """tokens of prompts that were computed"""
    found: int = 0
    """tokens of prompts that were there already"""
    restored: int = 0
    """of those, tokens that came back from RAM"""
    dropped: int = 0
    """tokens of contexts that were thrown away for lack of memory"""
    idle_bytes: int = 0
    """contexts in RAM, now"""
    written: int = 0
    """tokens of answers"""
    steps: int = 0
    busy_seconds: float = 0.0
    first_token: Histogram = field(default_factory=lambda: Histogram(FIRST_TOKEN_SECONDS))
    """from the question to the first token of its answer"""
