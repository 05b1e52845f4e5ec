"""What flags correct is put right in the rows that are replayed, where it cannot be meant otherwise.

Command: python -m pytest tests/feedback/curate/test_mend.py
Promise: whole answer, enough people, one correction, nobody calls it good; the manifest names the rows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backtalk.files import read_jsonl, write_jsonl
from feedback.curate import controls
from feedback.curate.candidate import Candidate, key
from feedback.curate.curate import Curation, curate
from feedback.curate.mend import corrections
from feedback.curate.routes import Lesson
from feedback.curate.rows import Rows
from feedback.curate.similar import normalised
from feedback.schema import FlagEvent
from tests.feedback.events import flag, segment

WRONG, RIGHT = "You have 30 days.", "You have 45 days."
ASKED = ("How long may I return?", "What is the return window?", "Days to send it back?")
OTHERS = "Until when can I bring it back?"


@dataclass
class Made:
    """A set of these events, with two questions of a corpus to replay that give the wrong answer."""

    folder: Path

    @property
    def answers(self) -> dict[str, Any]:
        return {row["prompt"][0]["content"]: row for row in read_jsonl(self.folder / "sft.jsonl")}


def made(tmp_path: Path, events: list[FlagEvent]) -> Made:
    corpus = [
        (OTHERS, "you have 30 days"),
        ("And with the box?", "You have 30 days. Keep the box."),
        ("Do you open on Sunday?", "No."),
    ]
    rows = [
        {
            "prompt": [{"role": "user", "content": asked}],
            "completion": [{"role": "assistant", "content": said}],
        }
        for asked, said in corpus
    ]
    write_jsonl(tmp_path / "corpus.jsonl", rows)
    settings = Curation(include="all", eval_share=0.0, replay_rows=5)
    return Made(curate(settings, [segment(tmp_path / "flags.jsonl", events)], tmp_path / "corpus.jsonl")[0])


def corrected(name: str, question: str, correction: str = RIGHT) -> FlagEvent:
    return flag(name, "bad", ["outdated"], correction, question=question, answer=WRONG)


@pytest.fixture
def events() -> list[FlagEvent]:
    return [corrected(f"who{n}", question) for n, question in enumerate(ASKED)]


def test_a_row_with_the_corrected_answer_teaches_the_correction(
    events: list[FlagEvent], tmp_path: Path
) -> None:
    found = made(tmp_path, events)
    row = found.answers[OTHERS]
    assert row["completion"][0]["content"] == RIGHT
    assert row["flags"] == sorted(event.flag_id for event in events)
    assert all(f"sft:{row['id']}" in line["rows"] for line in read_jsonl(found.folder / "manifest.jsonl"))


def test_a_longer_answer_is_left_out_and_another_one_stays(events: list[FlagEvent], tmp_path: Path) -> None:
    answers = made(tmp_path, events).answers
    assert "And with the box?" not in answers
    assert answers["Do you open on Sunday?"]["completion"][0]["content"] == "No."


def test_two_people_are_enough_where_a_number_alone_changes(events: list[FlagEvent], tmp_path: Path) -> None:
    assert made(tmp_path, events[:2]).answers[OTHERS]["completion"][0]["content"] == RIGHT
    two = [corrected(name, ASKED[0]) for name in ("ann", "bob")]
    assert made(tmp_path, two).answers[OTHERS]["completion"][0]["content"] == RIGHT
    assert OTHERS not in made(tmp_path, events[:1]).answers
    assert OTHERS not in made(tmp_path, [corrected("ann", asked) for asked in ASKED[:2]]).answers


def test_two_questions_are_too_few_for_other_words(tmp_path: Path) -> None:
    other = "We take things back until the end of spring."
    events = [corrected(f"who{n}", question, other) for n, question in enumerate(ASKED)]
    assert OTHERS not in made(tmp_path, events[:2]).answers
    assert made(tmp_path, events).answers[OTHERS]["completion"][0]["content"] == other


def test_an_answer_to_the_wrong_question_stays_what_it_is(tmp_path: Path) -> None:
    other = "A tent costs 90 euros."
    events = [
        flag(f"who{n}", "bad", ["factual_error"], other, question=question, answer=WRONG)
        for n, question in enumerate(("Tent price?", "How much is a tent?", "What do tents cost?"))
    ]
    assert OTHERS not in made(tmp_path, events).answers


def test_a_correction_of_the_question_alone_speaks_neither_for_nor_against(
    events: list[FlagEvent], tmp_path: Path
) -> None:
    beside = flag("zoe", "bad", ["factual_error"], "A tent costs 90 euros.", question="Tent?", answer=WRONG)
    assert made(tmp_path, [*events, beside]).answers[OTHERS]["completion"][0]["content"] == RIGHT


def test_a_question_that_is_held_out_counts_and_is_not_taught(tmp_path: Path) -> None:
    events = [corrected(f"who{n}", question) for n, question in enumerate(ASKED)]
    rows = Rows(seed=1)
    for event, file in zip(events[:2], ("sft", "eval"), strict=True):
        rows.add(Candidate.of(event, controls.pattern()), "new", Lesson(file, RIGHT, key(RIGHT)), "")
    assert corrections(rows)[normalised(WRONG)].text == RIGHT
    alone = Rows(seed=1)
    alone.add(Candidate.of(events[0], controls.pattern()), "new", Lesson("eval", RIGHT, key(RIGHT)), "")
    assert not corrections(alone)


def test_spellings_of_one_correction_are_one_and_it_is_written_like_the_answer(tmp_path: Path) -> None:
    spellings = ("you have 45 days", RIGHT, "YOU HAVE 45 DAYS!")
    events = [corrected(f"who{n}", *said) for n, said in enumerate(zip(ASKED, spellings, strict=True))]
    answers = made(tmp_path, events).answers
    assert {answers[asked]["completion"][0]["content"] for asked in (*ASKED, OTHERS)} == {RIGHT}


def test_two_corrections_of_one_answer_are_no_agreement(events: list[FlagEvent], tmp_path: Path) -> None:
    other = corrected("zoe", "Return?", "You have 60 days.")
    assert OTHERS not in made(tmp_path, [*events, other]).answers


def test_an_answer_that_somebody_calls_good_is_right_somewhere(
    events: list[FlagEvent], tmp_path: Path
) -> None:
    good = flag("zoe", "good", ["accurate"], question="Boots, how long?", answer=WRONG)
    assert OTHERS not in made(tmp_path, [*events, good]).answers
