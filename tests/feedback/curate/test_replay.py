"""Replay never teaches again what a flag just put right.

Command: python -m pytest tests/feedback/curate/test_replay.py
Promise: a row whose answer holds a corrected one is left out and counted; a manner of speaking stays, and
what was right for another question. A row of an earlier set comes along only while its flag says the same and
nobody decided against it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backtalk.card import Card
from backtalk.files import write_jsonl
from feedback.curate.curate import Curation, curate
from feedback.schema import FlagEvent
from feedback.store.decisions import Decisions, Review, matter_of, to_row
from tests.feedback.events import ANSWER, CORRECTION, flag, segment

SETTINGS = Curation(include="all", eval_share=0.0, replay=0.9)
REFUSAL = "I do not know that yet."


def card(tmp_path: Path, events: list, answers: list[str]) -> Card:
    tmp_path.mkdir(exist_ok=True)
    rows = [
        {"prompt": [{"role": "user", "content": f"{name} question {number}?"}],
         "completion": [{"role": "assistant", "content": answer}]}
        for number, answer in enumerate(answers)
        for name in ["A", "Another"][: 1 + (answer == REFUSAL)]
    ]  # fmt: skip
    write_jsonl(tmp_path / "earlier.jsonl", rows)
    return curate(SETTINGS, [segment(tmp_path / "flags.jsonl", events)], tmp_path / "earlier.jsonl")[1]


def outdated(answer: str = ANSWER, correction: str = CORRECTION, **more: str) -> list:
    return [flag("ann", "bad", ["factual_error"], correction, answer=answer, **more)]


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        "YOU can return items  within 30 days!",
        f"Gladly. {ANSWER} Anything else?",
    ],
)
def test_a_row_that_says_what_was_corrected_is_left_out(answer: str, tmp_path: Path) -> None:
    metrics = card(tmp_path, outdated(), [answer, "We are open from nine."]).metrics
    assert (metrics["replayed"], metrics["not_replayed"]) == (1, {"corrected": 1})


@pytest.mark.parametrize(
    "answer",
    [
        "You can return items within 300 days.",
        CORRECTION,
        "You can return them.",
    ],
)
def test_a_row_that_says_something_else_is_replayed(answer: str, tmp_path: Path) -> None:
    assert card(tmp_path, outdated(), [answer]).metrics["replayed"] == 1


def test_an_answer_that_was_called_bad_is_not_taught_again(tmp_path: Path) -> None:
    events = [
        flag("ann", "bad", ["too_long"]),
        flag("bob", "bad", ["factual_error"], "A.", question="B?", answer="C."),
    ]
    assert card(tmp_path, events, [ANSWER, "We are open."]).metrics["not_replayed"] == {"corrected": 1}


def beside_the_point(*questions: str, **more: str) -> list:
    """People who asked something else were given this answer."""
    return [
        flag(
            f"who{place}",
            "bad",
            ["factual_error"],
            f"A tent costs {90 + place} euros.",
            question=asked,
            **more,
        )
        for place, asked in enumerate(questions)
    ]


def test_an_answer_that_was_given_to_the_wrong_question_is_still_replayed(tmp_path: Path) -> None:
    events = beside_the_point("What is a tent?", "Tent, how much?", answer=ANSWER)
    assert "corrected" not in card(tmp_path, events, [ANSWER]).metrics["not_replayed"]


def test_an_answer_that_is_wrong_for_three_questions_and_good_for_none_is_not(tmp_path: Path) -> None:
    events = beside_the_point("What is a tent?", "Tent, how much?", "Euros for a tent?", answer=ANSWER)
    assert card(tmp_path / "bad", events, [ANSWER]).metrics["not_replayed"] == {"corrected": 1}
    praise = flag("zoe", "good", ["accurate"], question="How long may I return?", answer=ANSWER)
    metrics = card(tmp_path / "good", [*events, praise], [ANSWER]).metrics
    assert "corrected" not in metrics["not_replayed"]


def test_what_nobody_used_leaves_nothing_out(tmp_path: Path) -> None:
    withdrawn = replace(flag("ann", "bad", ["factual_error"], CORRECTION), op="create")
    bob = flag("bob", "bad", ["factual_error"], "A.", question="B?", answer="C.")
    gone = flag("ann", "bad", ["factual_error"], CORRECTION, last=withdrawn, retract=True)
    assert card(tmp_path, [withdrawn, gone, bob], [ANSWER]).metrics["replayed"] == 1


def test_a_manner_of_speaking_stays_though_it_was_wrong_once(tmp_path: Path) -> None:
    refusals = [REFUSAL] * 15
    metrics = card(tmp_path, outdated(REFUSAL, "It is blue."), [*refusals, "We are open."]).metrics
    assert "corrected" not in metrics["not_replayed"]


def taught_before(tmp_path: Path, now: Callable[[FlagEvent], list]) -> dict[str, int]:
    """What is not replayed from a set that ann's flag taught, once `now` came after it."""
    ann = flag("ann", "bad", ["factual_error"], CORRECTION)
    bob = flag("bob", "bad", ["factual_error"], "A.", question="B?", answer="C.")
    settings = replace(SETTINGS, replay=0.0)
    earlier, _ = curate(settings, [segment(tmp_path / "before" / "flags.jsonl", [ann, bob])])
    events = segment(tmp_path / "after" / "flags.jsonl", [ann, bob, *now(ann)])
    return curate(SETTINGS, [events], earlier)[1].metrics["not_replayed"]


def decided(state: str, tmp_path: Path) -> Callable[[FlagEvent], list]:
    def decide(ann: FlagEvent) -> list:
        review = Review(flag_id=ann.flag_id, state=state, by="ada", matter=matter_of(ann))
        return [to_row(Decisions(tmp_path / f"{state}.jsonl").decide(review)[0])]

    return decide


def test_a_row_whose_flag_is_rejected_or_amended_since_does_not_come_back(tmp_path: Path) -> None:
    def amended(ann: FlagEvent) -> list:
        return [flag("ann", "bad", ["factual_error"], "You can return items within 90 days.", last=ann)]

    def contradicted(ann: FlagEvent) -> list:
        return [flag("cleo", "bad", ["factual_error"], "You can return items within 90 days.")]

    for after, left_out in [
        (lambda ann: [], {"in_the_set": 2}),
        (decided("accepted", tmp_path), {"in_the_set": 2}),
        (decided("rejected", tmp_path), {"in_the_set": 1, "flag_rejected": 1}),
        (contradicted, {"in_the_set": 1, "flag_conflict": 1}),
        (amended, {"in_the_set": 1, "flag_amended": 1}),
    ]:
        assert taught_before(tmp_path, after) == left_out
