"""Intervals: clusters are drawn and not items, few clusters widen them, and more items are asked for.

Command: python -m pytest tests/training/test_evaluation_intervals.py
Promise: the same items give the same interval, and phrasings of one fact never count as evidence five times.
"""

import math
from random import Random

import numpy as np
import pytest

from training.evaluation.intervals import Interval, bounds, paired, student


def flips(groups: int, size: int, up: float, down: float, seed: int) -> tuple[list[str], list[float]]:
    """Clusters and gains; all items of a cluster flip as one."""
    random = Random(seed)
    luck = [random.random() for _ in range(groups)]
    gains = [1.0 if one < up else -1.0 if one > 1 - down else 0.0 for one in luck]
    return (
        [str(group) for group in range(groups) for _ in range(size)],
        [gain for gain in gains for _ in range(size)],
    )


def test_five_phrasings_of_a_fact_are_one_piece_of_evidence() -> None:
    once, five = (paired(*flips(60, size, 0.3, 0.1, seed=3)) for size in (1, 5))
    assert (once.value, once.low, once.high) == (five.value, five.low, five.high)
    names, gains = flips(60, 5, 0.3, 0.1, seed=3)
    apart = paired([f"{name}/{place}" for place, name in enumerate(names)], gains)
    assert apart.high - apart.low < 0.6 * (five.high - five.low)


def test_the_same_items_give_the_same_interval_and_many_outcomes_at_once_as_well() -> None:
    names, gains = flips(40, 3, 0.2, 0.1, seed=1)
    alone = paired(names, gains)
    assert alone == paired(names, gains)
    sums = np.array([gains[::3], [-gain for gain in gains[::3]]]).T * 3
    low, high, _ = bounds(sums, np.full(40, 3.0))
    assert (alone.low, alone.high) == (low[0], high[0])
    assert (alone.low, alone.high) == (-high[1], -low[1])


def test_the_interval_covers_the_truth_in_95_of_100_cases() -> None:
    random = np.random.default_rng(8)
    for groups in (12, 80):
        gains = random.normal(0.3, 1, (groups, 1000))
        low, high, _ = bounds(gains, np.ones(groups))
        assert 0.93 <= np.mean((low <= 0.3) & (high >= 0.3)) <= 0.97


def test_one_cluster_has_no_interval() -> None:
    found = paired(["a"] * 5, [1.0] * 5)
    assert found.value == 1 and math.isinf(found.low) and math.isinf(found.high)


def test_weights_make_a_ratio_of_sums() -> None:
    assert paired(["a", "b", "c"], [1.0, 2.0, 3.0], [10.0, 20.0, 30.0]).value == pytest.approx(0.1)


def test_four_times_the_items_show_half_the_difference() -> None:
    small, large = (Interval(0.02, -0.1, 0.1, error, n, n, n) for error, n in ((0.02, 400), (0.01, 1600)))
    assert small.detectable == pytest.approx(2 * large.detectable, rel=0.01)
    assert small.more_items(large.detectable) == pytest.approx(1200, abs=100)


def test_many_clusters_fit_into_memory() -> None:
    found = paired([str(n) for n in range(5_000)], [float(n % 3 == 0) for n in range(5_000)])
    assert found.low < 1 / 3 < found.high and found.high - found.low < 0.04


@pytest.mark.parametrize(("freedom", "known"), [(4, 2.7764), (5, 2.5706), (9, 2.2622), (79, 1.9905)])
def test_students_quantiles_are_those_of_the_tables(freedom: int, known: float) -> None:
    assert student(0.975, freedom) == pytest.approx(known, rel=1e-3)
