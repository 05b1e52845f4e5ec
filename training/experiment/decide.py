"""Which configuration is best, and how sure that is: chosen on development rows, confirmed on test rows once.

    found = decide(outcomes)
    found.chosen, found.told_apart, found.differences

The best of many on the rows that chose it looks better than it is (the winner's curse), so what is said of it
comes from rows that chose nothing. All configurations are compared with it at once, and the intervals are
widened for that: by the largest of all their bootstrap deviations, the same draws for all (max-t; Romano and
Wolf 2005), so that in at most 5 of 100 experiments without any difference one is claimed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.intervals import (
    CONFIDENCE,
    NORMAL,
    RESAMPLES,
    SEED,
    resample,
    student,
)
from training.evaluation.scores import BITS, Scored, mean, summary

FEWEST = (
    20  # clusters of test rows from which a difference is claimed: of fewer, a bootstrap knows too little
)


@dataclass(frozen=True)
class Outcome:
    """One configuration, or an untaught base, after its examination. `dev`: bits per byte there then."""

    name: str
    changes: Mapping[str, Any]
    dev: float
    test: Sequence[Scored]
    steps: int
    seconds: float
    loss: float | None = None
    baseline: bool = False
    reading: str = ""

    @property
    def numbers(self) -> dict[str, Any]:
        """What a table shows of the test rows."""
        return summary(self.test)

    @property
    def bits_per_byte(self) -> float:
        found = mean(self.test, BITS)
        assert found is not None
        return found


@dataclass(frozen=True)
class Difference:
    """How many bits per byte more than the chosen one; `low` and `high` hold for all of them at once."""

    name: str
    value: float
    low: float
    high: float
    detectable: float
    clusters: int

    @property
    def is_enough(self) -> bool:
        """Whether there are rows enough to claim anything."""
        return self.clusters >= FEWEST

    @property
    def is_worse(self) -> bool:
        return self.is_enough and self.low > 0

    @property
    def is_better(self) -> bool:
        """The development rows chose wrongly: that can happen, and is said."""
        return self.is_enough and self.high < 0


@dataclass(frozen=True)
class Decision:
    """`chosen` by the development rows; what the test rows say of all others beside it."""

    chosen: Outcome
    differences: Mapping[str, Difference]

    @property
    def wins(self) -> bool:
        """Whether every other one is told to be worse."""
        return bool(self.differences) and all(one.is_worse for one in self.differences.values())

    @property
    def claims(self) -> bool:
        """Whether any difference is claimed."""
        return any(one.is_worse or one.is_better for one in self.differences.values())

    @property
    def not_told_apart(self) -> list[str]:
        return [name for name, one in self.differences.items() if not one.is_worse and not one.is_better]

    def verdict(self, name: str) -> str:
        """In words, for a table."""
        if name == self.chosen.name:
            return "best" if self.wins else "best on development rows"
        one = self.differences[name]
        if one.is_worse:
            return "worse than the best"
        return "better on test rows" if one.is_better else "not told apart from the best"


def decide(outcomes: Sequence[Outcome], resamples: int = RESAMPLES) -> Decision:
    """The decision over the taught configurations among `outcomes`, of which there is at least one."""
    taught = [one for one in outcomes if not one.baseline]
    chosen = min(taught, key=lambda one: (one.dev, one.name))
    others = [one for one in taught if one is not chosen]
    if not others:
        return Decision(chosen, {})
    bits, sizes, clusters = parts(chosen.test)
    gains = np.stack([parts(one.test)[0] - bits for one in others], axis=1)
    return Decision(chosen, _at_once([one.name for one in others], clusters, gains, sizes, resamples))


def _at_once(
    names: Sequence[str], clusters: Sequence[str], gains: np.ndarray, sizes: np.ndarray, resamples: int
) -> dict[str, Difference]:
    """Differences with intervals that hold together. `gains`: (items, names), `sizes`: (items,) bytes."""
    numbers = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    places = np.array([numbers[name] for name in clusters])
    sums = np.zeros((len(numbers), gains.shape[1]))
    np.add.at(sums, places, gains)
    weights = np.bincount(places, sizes, len(numbers)).astype(float)
    values = sums.sum(axis=0) / weights.sum()
    drawn = resample(sums, weights, resamples, SEED)
    errors = drawn.std(axis=0)
    moved = np.abs(drawn - values)[:, errors > 0] / errors[errors > 0]
    count = len(numbers)
    reach = float(np.quantile(moved.max(axis=1), CONFIDENCE)) if moved.size else 0.0
    # With few clusters the bootstrap's spread is too small twice: for being a sample's, and for being normal.
    few = student(0.5 + CONFIDENCE / 2, count - 1) / NORMAL.inv_cdf(0.5 + CONFIDENCE / 2)
    reach *= few * (count / (count - 1)) ** 0.5
    power = NORMAL.inv_cdf(0.8)
    return {
        name: Difference(name, float(value), float(value - reach * error), float(value + reach * error),
                         float((reach + power) * error), count)
        for name, value, error in zip(names, values, errors, strict=True)
    }  # fmt: skip


def parts(scored: Sequence[Scored]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Bits, bytes and cluster of each item."""
    bits = np.array([one.bits for one in scored], dtype=float)
    return bits, np.array([one.bytes for one in scored], dtype=float), [one.item.cluster for one in scored]
