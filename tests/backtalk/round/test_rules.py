"""Which methods a round takes follows from what was collected, and it says why.

Command: python -m pytest tests/backtalk/round/test_rules.py
Promise: too few flags teach nothing; votes need both kinds; every method that is left out has its reason.
"""

from typing import Any

import pytest

from backtalk.round.recipe import Rules
from backtalk.round.rules import choose


def collected(sft: int = 0, good: int = 0, bad: int = 0, dpo: int = 0, used: int = 0, held: int = 9) -> Any:
    rows = {"sft": sft, "kto": good + bad, "dpo": dpo, "eval": held}
    return {"used": used or sft + good + bad, "rows": rows, "kto": {"good": good, "bad": bad}}


@pytest.mark.parametrize(
    ("metrics", "methods"),
    [
        (collected(sft=19), []),
        (collected(sft=20), ["sft"]),
        (collected(sft=20, held=0), []),
        (collected(good=80, bad=19), []),
        (collected(good=80, bad=20), ["kto"]),
        (collected(sft=30, good=50, bad=49), ["sft"]),
        (collected(sft=30, good=30, bad=70, dpo=50), ["sft", "kto", "dpo"]),
        (collected(sft=30, dpo=49), ["sft"]),
    ],
)
def test_the_methods_follow_from_the_counts(metrics: Any, methods: list[str]) -> None:
    assert choose(metrics, Rules()).methods == methods


def test_a_method_that_is_left_out_says_what_is_missing() -> None:
    why = " ".join(choose(collected(sft=30, good=90, bad=10, dpo=3), Rules()).why)
    assert "90 good and 10 bad votes; 20 of each are wanted" in why
    assert "dpo: left out, 3 pairs; 50 are wanted." in why


def test_a_recipe_may_do_without_a_method() -> None:
    assert choose(collected(sft=30, dpo=500), Rules(pairs=None)).methods == ["sft"]
