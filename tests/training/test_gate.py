"""The gate: PROMOTE by evidence alone, REJECT what is worse, HOLD and say how much is lacking.

Command: python -m pytest tests/training/test_gate.py
Promise: noise is promoted in at most 3.5 of 100 cases, and what was not tested is never taken as passed.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backtalk.card import Card, write_card
from backtalk.files import sha256_of
from backtalk.models import MINI, Model
from backtalk.progress import Progress
from bench.gate import BETTER, EQUAL, Case, draws, promoted
from export.verdict import read_verdict
from training.evaluation.intervals import Interval, bounds, paired
from training.gate import (
    BROKEN,
    HOLD,
    OPEN,
    PROMOTE,
    REJECT,
    SHOWN,
    Condition,
    Evidence,
    decide,
    quantized_file,
    write_verdict,
)

PASSED = Condition("quantized file", SHOWN, "passed.")
GOOD = Evidence(
    primary=Interval(0.05, 0.02, 0.08, 0.015, 400, 160, 35),
    metric="share right",
    task=Interval(0.001, -0.005, 0.006, 0.003, 2000, 900, 40),
    earlier=Interval(0.0, -0.009, 0.009, 0.004, 900, 400, 12),
    general=Interval(0.004, -0.002, 0.011, 0.003, 300, 300, 300),
    quantized=PASSED,
)


def test_everything_shown_is_promoted() -> None:
    assert decide(GOOD).word == PROMOTE
    assert decide(replace(GOOD, earlier=None)).word == PROMOTE  # a first round has no earlier ones
    assert decide(replace(GOOD, task=None, primary_is_task=True)).word == PROMOTE


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ({"primary": Interval(0.02, -0.01, 0.05, 0.015, 400, 160, 35)}, "about 1,"),
        ({"primary": Interval(0.05, 0.01, 0.09, 0.02, 50, 10, 5)}, "5 of 10 groups of items changed where 6"),
        ({"task": Interval(0.0, -0.02, 0.02, 0.01, 300, 100, 20)}, "more items needed"),
        ({"task": Interval(0.0, 0.0, 0.0, 0.0, 100, 100, 0)}, "about 200 more items needed"),
        ({"task": None}, "--task FILE"),
        ({"general": None}, "--general FILE"),
        ({"general": Interval(0.015, 0.005, 0.025, 0.005, 300, 300, 300)}, "not enough evidence"),
        ({"quantized": Condition("quantized file", OPEN, "export it.")}, "export it"),
    ],
)
def test_what_is_open_is_held_and_says_what_is_lacking(lacking: dict[str, object], said: str) -> None:
    verdict = decide(replace(GOOD, **lacking))  # type: ignore[arg-type]
    assert verdict.word == HOLD and said in verdict.why


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"primary": Interval(-0.05, -0.08, -0.02, 0.015, 400, 160, 35)}, "worse"),
        ({"task": Interval(-0.03, -0.05, -0.011, 0.01, 300, 100, 20)}, "more than a point worse"),
        ({"earlier": Interval(-0.03, -0.05, -0.011, 0.01, 300, 100, 20)}, "more than a point worse"),
        ({"general": Interval(0.04, 0.021, 0.06, 0.01, 300, 300, 300)}, "more than 2% worse"),
        ({"quantized": Condition("quantized file", BROKEN, "it failed.")}, "it failed"),
    ],
)
def test_one_broken_condition_rejects(broken: dict[str, object], said: str) -> None:
    verdict = decide(replace(GOOD, **broken))  # type: ignore[arg-type]
    assert verdict.word == REJECT and said in verdict.why


def test_one_group_of_items_is_held_without_an_interval() -> None:
    verdict = decide(replace(GOOD, primary=paired(["a"] * 9, [1.0] * 9)))
    assert verdict.word == HOLD and "primary set, share right" not in verdict.intervals


def test_the_number_of_items_asked_for_is_about_enough() -> None:
    """With as many more items of the same kind, four of five draws are promoted."""
    held = Interval(0.025, -0.005, 0.055, 0.0155, 400, 200, 40)
    more = decide(replace(GOOD, primary=held)).more_items
    assert 700 <= more <= 1000
    luck = np.random.default_rng(5).random((400 + more, 300))
    low, _, _ = bounds(1.0 * (luck < 0.06) - 1.0 * (luck > 0.965), np.ones(len(luck)))
    assert 0.72 <= np.mean(low > 0) <= 0.92


def test_noise_is_promoted_in_at_most_35_of_1000_and_a_real_gain_in_800() -> None:
    quiet = Progress(open("/dev/null", "w"))  # noqa: SIM115
    assert promoted(EQUAL[0], 1000, quiet) <= 0.035
    assert promoted(BETTER, 1000, quiet) >= 0.8


def test_the_construction_has_the_difference_and_the_togetherness_that_it_states() -> None:
    sums, sizes = draws(Case(400, "5", 0.3, 0.075, 0.025), 1000)
    assert sums.sum() / sizes.sum() / 1000 == pytest.approx(0.05, abs=0.003)
    single, among = 0.1 - 0.05**2, np.var(sums)
    assert (among / (5 * single) - 1) / 4 == pytest.approx(0.3, abs=0.03)


def test_the_verdict_is_what_promote_reads(tmp_path: Path) -> None:
    write_verdict(tmp_path / "verdict.json", decide(GOOD), "ab12", model="new")
    read = read_verdict(tmp_path / "verdict.json")
    assert (read.word, read.gguf_sha256) == (PROMOTE, "ab12")
    assert "+5 points [+2, +8] on 400 items" in read.why
    assert read.raw["intervals"]["task test"] == [-0.005, 0.006]


def test_a_file_passes_only_by_the_card_of_its_export(tmp_path: Path) -> None:
    gguf = tmp_path / "mini-Q8_0.gguf"
    gguf.write_bytes(MINI.read_bytes()[:1000])
    model = Model("mini", gguf, sha256_of(gguf))
    assert quantized_file(None).standing == OPEN
    assert quantized_file(model).standing == OPEN
    for passed, failed, standing in ((True, [], SHOWN), (False, ["divergence"], BROKEN)):
        row = {"sha256": model.sha256, "passed": passed, "failed": failed}
        write_card(tmp_path, Card("export", "one", metrics={"Q8_0": row}))
        assert quantized_file(model).standing == standing
    assert "divergence" in quantized_file(model).why
    assert quantized_file(replace(model, sha256="0" * 64)).standing == OPEN
