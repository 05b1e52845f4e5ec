"""Evaluation items: what a row may be, what it is resampled by, and how a bad one is refused.

Command: python -m pytest tests/training/test_evaluation_items.py
Promise: a row that cannot be evaluated is named by its number; none is left out in silence.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from backtalk.errors import BacktalkError, WordsError
from training.data.variant import Variant
from training.evaluation.items import PRIMARY, Item, read_items

ASKED = [{"role": "user", "content": "how long may i return things"}]
SAID = {"role": "assistant", "content": "Within 60 days."}


def read(tmp_path: Path, *rows: Any, variant: Variant | None = None) -> list[Item]:
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_items({PRIMARY: [path]}, variant)


def test_each_kind_of_row_is_a_question_with_its_reference(tmp_path: Path) -> None:
    rows = [
        {"prompt": ASKED, "reference": SAID["content"], "must": ["60 days"], "group": "g", "flags": ["f"]},
        {"messages": [*ASKED, SAID]},
        {"prompt": ASKED, "completion": [SAID]},
        {"prompt": ASKED[0]["content"], "completion": SAID["content"]},
    ]
    items = read(tmp_path, *rows[:3]) + read(tmp_path, {**rows[3], "completion": [SAID]})
    assert all(list(item.messages) == ASKED for item in items)
    assert [item.reference for item in items] == [SAID["content"]] * 4
    assert [item.flagged for item in items] == [True, False, False, False]


def test_the_miniatures_own_evaluation_is_read_whole() -> None:
    files = sorted(Path("training/mini/evaluation").glob("*.jsonl"))
    items = read_items({PRIMARY: files})
    assert len(items) == sum(path.read_text().count("\n") for path in files)
    assert all(item.messages and item.checked for item in items)


def test_phrasings_of_one_fact_are_one_cluster_and_other_items_their_own(tmp_path: Path) -> None:
    rows = [
        {"prompt": ASKED, "must": ["60"], "fact": "returns", "group": "a"},
        {"prompt": ASKED, "must": ["60"], "fact": "returns", "group": "b"},
        {"prompt": ASKED, "must": ["60"], "group": "b"},
        {"prompt": ASKED, "must": ["60"]},
        {"prompt": ASKED, "must": ["60"]},
    ]
    assert len({item.cluster for item in read(tmp_path, *rows)}) == 4


def test_an_answer_is_right_between_word_borders_only(tmp_path: Path) -> None:
    (item,) = read(tmp_path, {"prompt": ASKED, "must": ["60 days | sixty days"], "must_not": ["30 days"]})
    assert item.is_right("Within 60 days.") and item.is_right("It is SIXTY days")
    assert not item.is_right("Within 160 days.")
    assert not item.is_right("60 days, no longer 30 days.")


def test_a_prompt_variant_puts_columns_into_words(tmp_path: Path) -> None:
    variant = Variant("short", "Sum up: {{ dialogue }}")
    (item,) = read(tmp_path, {"id": "7", "dialogue": "A: hi", "summary": "A says hi."}, variant=variant)
    assert item.messages[0]["content"] == "Sum up: A: hi"
    assert item.reference == "A says hi."


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (7, "is not an object"),
        ({"question": "hi"}, "has no 'prompt' and no 'messages' (its keys: question)"),
        ({"prompt": []}, "holds messages that are none"),
        ({"prompt": [{"role": "robot", "content": "hi"}]}, "holds messages that are none"),
        ({"prompt": [{"role": "user"}]}, "holds messages that are none"),
        ({"messages": [SAID], "must": ["60"]}, "does not end with a question"),
        ({"prompt": ASKED, "must": "60 days"}, "has a 'must' that is not a list of texts"),
        ({"prompt": ASKED, "exact": True}, "wants an exact match and has no 'reference'"),
        ({"text": ""}, "has an empty 'text'"),
    ],
)
def test_a_bad_row_is_one_sentence_with_its_number(tmp_path: Path, row: Any, said: str) -> None:
    good = {"prompt": ASKED, "must": ["60"]}
    with pytest.raises(WordsError) as fault:
        read(tmp_path, good, good | {"id": "other"}, row)
    assert "items.jsonl, row 3" in str(fault.value) and said in str(fault.value)
    assert "\n" not in str(fault.value)


def test_twins_no_rows_no_file_and_nothing_to_compare_with_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match="row 2, has the id 'a' of .*row 1"):
        read(tmp_path, {"id": "a", "prompt": ASKED, "must": ["1"]}, {"id": "a", "prompt": ASKED})
    with pytest.raises(WordsError, match="has no rows"):
        read(tmp_path)
    with pytest.raises(WordsError, match="There is no file"):
        read_items({PRIMARY: [tmp_path / "gone.jsonl"]})
    with pytest.raises(WordsError, match="says what a right answer is"):
        read(tmp_path, {"prompt": ASKED})


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"prompt": "hi", "must": ["1"]}\n{"prompt": \n')
    with pytest.raises(BacktalkError, match="line 2"):
        read_items({PRIMARY: [path]})
