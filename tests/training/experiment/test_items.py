"""The rows that configurations are compared on: development and test apart, by their right answers.

Command: python -m pytest tests/training/experiment/test_items.py
Promise: no answer is on both sides; what every configuration can read is compared on, and nothing else;
a side with one answer alone, of which no interval can be told, is refused before anything is trained.
"""

from typing import Any

import pytest

from backtalk.errors import BacktalkError
from training.experiment.items import candidates, divide
from training.experiment.recipe import Search


def rows(answers: list[str], source: str = "held") -> list[dict[str, Any]]:
    return [
        {
            "id": str(number),
            "source": source,
            "prompt": [{"role": "user", "content": f"question {number}"}],
            "completion": [{"role": "assistant", "content": answer}],
        }
        for number, answer in enumerate(answers)
    ]


def test_no_answer_is_on_both_sides() -> None:
    found = candidates(rows([f"answer {number % 12}" for number in range(36)]), ())
    split = divide({"one": found}, Search(), 7)
    dev, test = ({item.reference for item in side["one"]} for side in (split.dev, split.test))
    assert dev and test and not dev & test
    assert len(split.dev["one"]) + len(split.test["one"]) == 36


def test_only_rows_that_every_configuration_reads_are_compared_on() -> None:
    both = {
        "short": candidates(rows([f"answer {number}" for number in range(20)]), ()),
        "long": candidates(rows([f"answer {number}" for number in range(30)]), ()),
    }
    split = divide(both, Search(), 7)
    for side in (split.dev, split.test):
        assert [item.id for item in side["short"]] == [item.id for item in side["long"]]
        assert all(int(item.reference.split()[1]) < 20 for item in side["long"])


def test_a_side_with_one_answer_is_refused() -> None:
    tests = rows(["the same"] * 8, "tests")
    held = [*rows([f"answer {number}" for number in range(8)]), *tests]
    with pytest.raises(BacktalkError, match="8 test rows with 1 different answers"):
        divide({"one": candidates(held, ["tests"])}, Search(), 7)
