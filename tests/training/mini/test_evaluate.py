"""The table of accuracies: what it counts, what it promises, and the bundled model against it."""

import io
import json
from contextlib import redirect_stdout
from typing import Any

import pytest

from backtalk.card import read_card
from backtalk.files import sha256_of
from training.mini import evaluate
from training.mini.build import OUT
from training.mini.evaluate import Result, Row, read_items, sample, table

MOST_BYTES = 30_000_000


def test_a_row_holds_from_its_bound_on() -> None:
    row = Row("facts", "facts right", 0.95)
    assert Result(row, 100, 95).holds is True
    assert Result(row, 100, 94).holds is False
    assert Result(Row("small_talk", "small talk"), 100, 1).holds is None


def test_refusals_are_told_as_a_share_of_wrong_answers() -> None:
    refused = Result(Row("inside_refused", "refused", 0.98, told_as_wrong=True), 200, 197)
    assert "1.5%" in refused.line() and "<= 2%" in refused.line()
    assert refused.as_json() == {
        "name": "inside_refused",
        "title": "refused",
        "n": 200,
        "value": 0.015,
        "bound": 0.02,
        "holds": True,
    }


def test_the_table_says_no_where_a_bound_is_missed() -> None:
    lines = table([Result(Row("facts", "facts right", 0.95), 10, 9)]).splitlines()
    assert lines[1].split() == ["facts", "right", "10", "90.0%", ">=", "95%", "NO"]


def test_every_row_with_a_bound_has_three_hundred_items() -> None:
    items = read_items()
    for row in evaluate.ROWS:
        count = sum(item.row == row.name for item in items)
        assert count >= (300 if row.bound else 1), row.name


def test_a_sample_takes_evenly_from_each_row() -> None:
    items = read_items()
    chosen = sample(items, 20)
    counts = [sum(item.row == row.name for item in chosen) for row in evaluate.ROWS]
    assert all(10 <= count <= 20 for count in counts)
    assert len(sample(items, 0)) == len(items)


@pytest.fixture(scope="module")
def measured() -> tuple[int, dict[str, Any]]:
    """The exit code and the report of one look at the bundled model, 40 items of each row."""
    with redirect_stdout(io.StringIO()) as out:
        code = evaluate.main(["--sample", "40", "--json"])
    return code, json.loads(out.getvalue().splitlines()[-1])


def test_the_bundled_model_scores_what_its_card_says(measured: tuple[int, dict[str, Any]]) -> None:
    rows = {row["name"]: row for row in measured[1]["rows"]}
    for told in read_card(OUT).metrics["table"]:
        row = rows[told["name"]]
        chance = 4 * (0.25 / row["n"]) ** 0.5  # four standard deviations of a share that rests on n items
        assert row["value"] == pytest.approx(told["value"], abs=chance), told["title"]


def test_a_missed_bound_is_told_by_the_exit_code(measured: tuple[int, dict[str, Any]]) -> None:
    code, report = measured
    assert report["holds"] == all(row["holds"] is not False for row in report["rows"])
    assert code == (0 if report["holds"] else 1)


def test_the_bundled_folder_is_what_its_card_says() -> None:
    card = read_card(OUT)
    assert card.kind == "model"
    for output in card.outputs:
        path = OUT / output["path"]
        assert (path.stat().st_size, sha256_of(path)) == (output["bytes"], output["sha256"]), path.name
    assert sum(path.stat().st_size for path in OUT.iterdir()) <= MOST_BYTES
    assert card.metrics["gguf"]["holds"]
