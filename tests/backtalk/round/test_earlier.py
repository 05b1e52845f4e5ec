"""What earlier rounds were asked is asked again, unless that would be wrong today.

Command: python -m pytest tests/backtalk/round/test_earlier.py
Promise: no item whose flag was withdrawn, whose question is taught today, or whose answer was corrected.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backtalk.card import Card
from backtalk.files import read_jsonl
from backtalk.round.earlier import items_of_earlier
from backtalk.round.start import start_of
from feedback.curate.curate import Curation, curate
from feedback.schema import FlagEvent
from tests.feedback.events import flag, segment

HELD_OUT = Curation(include="all", eval_share=0.5, seed=3)
TAUGHT = replace(HELD_OUT, eval_share=0.0)


def corrected(what: str, **more: Any) -> FlagEvent:
    return flag(
        what,
        "bad",
        ["factual_error"],
        f"The {what} costs 60 euros.",
        question=f"Would you kindly tell me what a {what} costs?",
        answer=f"The {what} costs 30 euros.",
        **more,
    )


FLAGS = [corrected(what) for what in ("tent", "stove", "rope", "map", "lamp", "boot", "cup", "pan")]


@pytest.fixture
def before(tmp_path: Path, state_folder: Path) -> Path:
    """The set of round 1, with items on half of the flags."""
    folder, _ = curate(HELD_OUT, [segment(tmp_path / "flags.jsonl", FLAGS)])
    assert 0 < len(list(read_jsonl(folder / "eval.jsonl"))) < len(FLAGS)
    return folder


def rounds_of(folder: Path) -> list[tuple[int, Card]]:
    return [(1, Card("round", "round1", metrics={"curated": folder.name, "run": "r1", "sha256": "one"}))]


def held_out(folder: Path) -> list[FlagEvent]:
    names = {name for item in read_jsonl(folder / "eval.jsonl") for name in item["flags"]}
    return [event for event in FLAGS if event.flag_id in names]


def today(tmp_path: Path, events: list[FlagEvent], settings: Curation = HELD_OUT) -> Path:
    return curate(settings, [segment(tmp_path / "today.jsonl", events)])[0]


def test_items_that_are_still_held_out_are_asked_again(before: Path, tmp_path: Path) -> None:
    items, dropped = items_of_earlier(rounds_of(before), today(tmp_path, FLAGS))
    assert len(items) == len(held_out(before)) and not any(dropped.values())


def test_an_item_whose_flag_was_withdrawn_is_gone(before: Path, tmp_path: Path) -> None:
    last = held_out(before)[0]
    gone = corrected(last.correction.text.split()[1], last=last, retract=True)
    items, dropped = items_of_earlier(rounds_of(before), today(tmp_path, [*FLAGS, gone]))
    assert len(items) == len(held_out(before)) - 1
    assert dropped["without a standing flag"] == 1


def test_an_item_whose_question_is_taught_today_is_gone(before: Path, tmp_path: Path) -> None:
    items, dropped = items_of_earlier(rounds_of(before), today(tmp_path, FLAGS, TAUGHT))
    assert not items and dropped["taught today"] == len(held_out(before))


def test_an_item_whose_answer_was_corrected_since_is_gone(before: Path, tmp_path: Path) -> None:
    right_then = held_out(before)[0].correction.text
    news = [
        flag(f"n{number}", "bad", ["outdated"], right_then.replace("60", "90"), answer=right_then,
             question=f"In the year 20{number}, and in general, at which price does it go?")
        for number in range(30, 34)
    ]  # fmt: skip
    items, dropped = items_of_earlier(rounds_of(before), today(tmp_path, [*FLAGS, *news]))
    assert dropped["corrected since"] == 1
    assert right_then not in [item["reference"] for item in items]


def test_a_round_begins_with_the_base_unless_the_recipe_says_otherwise(before: Path, tmp_path: Path) -> None:
    assert start_of("base", today(tmp_path, FLAGS), rounds_of(before), "one")[0] == ""
    assert start_of("last", today(tmp_path, FLAGS), rounds_of(before), "one")[0] == "r1"


def test_what_was_rolled_back_is_not_taught_on(before: Path, tmp_path: Path) -> None:
    later = (2, Card("round", "round2", metrics={"curated": before.name, "run": "r2", "sha256": "two"}))
    rounds = [*rounds_of(before), later]
    starts = [
        start_of("last", today(tmp_path, FLAGS), rounds, served)[0] for served in ("two", "one", "mini")
    ]
    assert starts == ["r2", "r1", ""]


def test_a_flag_that_was_withdrawn_or_said_anew_forces_the_base(before: Path, tmp_path: Path) -> None:
    start, why = start_of("last", today(tmp_path, FLAGS[1:]), rounds_of(before), "one")
    assert start == "" and "1 flags of round 1 no longer count" in why
    anew = corrected("tent", last=FLAGS[0])
    assert anew.flag_id == FLAGS[0].flag_id
    assert start_of("last", today(tmp_path, [*FLAGS, anew]), rounds_of(before), "one")[0] == ""
