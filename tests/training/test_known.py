"""What a file answered is known in the next evaluation, whatever characters were asked, and not for ever.

Command: python -m pytest tests/training/test_known.py
Promise: half a character in a question is no fault; the models that were asked longest ago are forgotten.
"""

import os
from contextlib import closing
from pathlib import Path

from backtalk.home import home
from backtalk.models import Model
from training.evaluation.items import TASK, Item
from training.evaluation.kept import Kept
from training.evaluation.known import MODELS, Known
from training.evaluation.scores import Answer

ANSWER = Answer("Yes.", 2, True)


def item(text: str) -> Item:
    return Item("1", TASK, "row 1", ({"role": "user", "content": text},), "Yes.", (), (), False, "1", False)


def known(number: int) -> Known:
    return Known(Model(f"model-{number}", Path("model.gguf"), f"{number:064}"), None, most=8)


def recalled(number: int, asked: Item, file: Path) -> bool:
    with closing(Kept(file)) as kept:
        known(number).recall([asked], [], kept)
        return not kept.unanswered([asked])


def test_half_a_character_in_a_question_is_no_fault(tmp_path: Path) -> None:
    asked = item("What is \ud83d?")
    with closing(Kept(tmp_path / "first.jsonl")) as kept:
        kept.keep_answer(asked, ANSWER)
        known(1).remember([asked], kept)
    assert recalled(1, asked, tmp_path / "second.jsonl")
    assert not recalled(1, item("What is \ud83e?"), tmp_path / "other.jsonl")
    assert not recalled(2, asked, tmp_path / "another.jsonl")


def test_the_models_that_were_asked_longest_ago_are_forgotten(tmp_path: Path) -> None:
    asked = item("Is it?")
    with closing(Kept(tmp_path / "kept.jsonl")) as kept:
        kept.keep_answer(asked, ANSWER)
        for number in range(MODELS + 2):
            known(number).remember([asked], kept)
            newest = max((home() / "answers").iterdir(), key=lambda path: path.stat().st_mtime_ns)
            os.utime(newest, (number, number))
    left = [number for number in range(MODELS + 2) if recalled(number, asked, tmp_path / f"{number}.jsonl")]
    assert left == list(range(2, MODELS + 2))
