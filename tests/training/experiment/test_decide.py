"""Which configuration is best, and what is claimed.

Command: python -m pytest tests/training/experiment/test_decide.py
Promise: where nothing differs, a difference is claimed in at most 6 of 100 experiments; where one differs, it
is found; the configuration that development rows chose is not called best by the rows that chose it.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.evaluation.items import PRIMARY, Item
from training.evaluation.scores import Answer, Scored
from training.experiment.chart import draw_comparison
from training.experiment.decide import Outcome, decide
from training.experiment.early import Halving
from training.experiment.effects import effects, suggestions
from training.experiment.points import Point, Points
from training.experiment.reporting import conclusion

CONFIGURATIONS, CLUSTERS = 8, 40


def outcomes(
    bits: np.ndarray, changes: list[dict[str, object]] | None = None, dev: np.ndarray | None = None
) -> list[Outcome]:
    """One for each column of (items, configurations); two items make a cluster. `dev`: rows that choose."""
    chosen_by = bits if dev is None else dev
    return [
        Outcome(
            f"c{place + 1}",
            changes[place] if changes else {},
            float(chosen_by[:, place].mean()),
            [scored(number, one) for number, one in enumerate(column)],
            8,
            1.0,
        )
        for place, column in enumerate(bits.T)
    ]


def scored(number: int, bits: float) -> Scored:
    item = Item(str(number), PRIMARY, "", (), "ten bytes!", (), (), False, f"cluster:{number // 2}", False)
    return Scored(item, Answer("", 0, True), bits)


def noise(seed: int) -> np.ndarray:
    """What rows and clusters have in common, and what is of each configuration: (items, configurations)."""
    random = np.random.default_rng(seed)
    items = 2 * CLUSTERS
    hard = random.gamma(3.0, 5.0, (items, 1))
    shared = np.repeat(random.normal(0, 1.5, (CLUSTERS, CONFIGURATIONS)), 2, axis=0)
    return hard + shared + random.normal(0, 1.0, (items, CONFIGURATIONS))


def test_where_nothing_differs_hardly_anything_is_claimed() -> None:
    made = (outcomes(noise(seed), dev=noise(1000 + seed)) for seed in range(300))
    assert sum(decide(one, resamples=499).claims for one in made) <= 18  # 6 %


def test_rows_that_chose_would_claim_too_much() -> None:
    """Why there are test rows: the best of eight on the rows that chose it looks better than it is."""
    made = [outcomes(noise(seed)) for seed in range(100)]
    assert sum(decide(one, resamples=199).claims for one in made) > 6


def test_one_that_is_better_is_found_and_called_best() -> None:
    bits = noise(1)
    bits[:, 4] -= 4.0
    found = decide(outcomes(bits))
    assert found.chosen.name == "c5" and found.wins
    assert conclusion(found).startswith("c5 is best")
    assert all(found.verdict(name) == "worse than the best" for name in found.differences)


def test_equal_ones_are_not_told_apart() -> None:
    bits = noise(2)
    bits[:, 1:] = bits[:, :1]
    found = decide(outcomes(bits))
    assert not found.claims and len(found.not_told_apart) == CONFIGURATIONS - 1
    assert conclusion(found).startswith("No winner")


def test_the_effect_of_a_knob_is_that_of_its_pairs() -> None:
    changes = [{"r": r, "rate": rate} for r in (8, 16) for rate in (1e-3, 1e-4)]
    bits = noise(3)[:, :4]
    bits[:, 2:] -= 5.0  # rank 16 saves half a bit a byte
    found = {one.knob: one for one in effects(outcomes(bits, changes), ["r", "rate"])}
    assert (found["r"].before, found["r"].after, found["r"].pairs) == (8, 16, 2)
    assert found["r"].is_clear and found["r"].interval.value == pytest.approx(-0.5, abs=0.1)
    assert not found["rate"].is_clear
    made = outcomes(bits, changes)
    assert "also try 32" in " ".join(suggestions(decide(made), made, ["r", "rate"], []))


def test_the_picture_is_drawn_of_curves_and_differences(tmp_path: Path) -> None:
    points = Points(tmp_path)
    taught = outcomes(noise(4))
    untaught = replace(taught[7], name="zero-1", baseline=True)
    for one in (*taught[:7], untaught):
        for step in (0,) if one.baseline else (2, 4):
            points.add(Point(one.name, step, one.dev - step / 10, (), None, 0.0, ""))
    made = [*taught[:7], untaught]
    draw_comparison(made, decide(made), points, tmp_path / "comparison.png", "a grid")
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert Points(tmp_path).of("c1") == points.of("c1")


def test_halving_lets_the_best_pass_and_nobody_before_the_least_steps() -> None:
    halving = Halving(first=8, keep=3)
    assert [step for step in range(1, 100) if halving.is_rung(step)] == [8, 24, 72]
    reached = {f"c{n}": 1.0 + n for n in range(6)}
    assert [name for name in reached if halving.passes(name, reached)] == ["c0", "c1"]
    assert not halving.passes("c0", {"c0": 1.0, "c1": 2.0})  # too few to say
