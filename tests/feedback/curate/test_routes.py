"""What a flag may teach, reason by reason."""

import pytest

from feedback.curate.candidate import Candidate
from feedback.curate.controls import pattern
from feedback.curate.routes import Teaching, teach
from feedback.schema import Extras, FlagEvent, SideBySide
from feedback.taxonomy import taxonomy
from tests.feedback.events import CORRECTION, flag

TWO_TURNS = ("My name is Ada.", "Hello, Ada!")
LONG = "You can return items within 30 days, and it is a great pleasure for me to say so to you."


def teaching(event: FlagEvent, state: str = "accepted", wording: str = "") -> Teaching:
    candidate = Candidate.of(event, pattern())
    assert not candidate.fault
    return teach(candidate, state, wording)


def files(event: FlagEvent, state: str = "accepted") -> str:
    """The lessons in short: a vote by its label."""
    return " ".join(lesson.label or lesson.file for lesson in teaching(event, state).lessons)


def test_a_correction_becomes_an_answer_a_pair_and_an_item() -> None:
    event = flag(reasons=["factual_error"], correction=CORRECTION)
    sft, dpo, kto, item = teaching(event).lessons
    assert (sft.file, sft.target) == ("sft", CORRECTION)
    assert (dpo.target, dpo.against) == (CORRECTION, event.answer.text)
    assert (kto.label, kto.weight) == ("bad", 0.5)
    assert (item.target, item.against, item.checks) == (CORRECTION, event.answer.text, ("reference",))


@pytest.mark.parametrize(
    ("reasons", "correction", "expected"),
    [
        ([], "", "bad eval"),
        ([], CORRECTION, "sft dpo bad eval"),
        (["outdated"], "", ""),
        (["outdated"], CORRECTION, "sft dpo eval"),
        (["off_topic"], CORRECTION, "bad eval"),
        (["misunderstood", "style_tone"], CORRECTION, "sft dpo bad eval"),
        (["style_tone", "slow"], "", "bad eval"),
        (["factual_error", "other"], "", "bad eval"),
    ],
)
def test_the_taxonomy_decides_what_bad_answers_become(
    reasons: list[str], correction: str, expected: str
) -> None:
    assert files(flag(reasons=reasons, correction=correction, comment="see above")) == expected


def test_every_reason_about_the_model_has_a_route_that_works() -> None:
    for reason in taxonomy().reasons:
        if not reason.route.aside:
            event = flag(verdict=reason.direction, reasons=[reason.id], correction=CORRECTION)
            assert teaching(event).lessons or teaching(event).withheld, reason.id


def test_a_good_answer_is_imitated_only_when_a_maintainer_accepted_it() -> None:
    event = flag(verdict="good", reasons=["accurate"])
    assert files(event, "accepted") == "good sft eval"
    assert files(event, "new") == "good"
    assert teaching(event, "new").withheld == ["sft:not_accepted"]


def test_good_and_bad_reasons_together_are_no_vote() -> None:
    event = flag(verdict="mixed", reasons=["clear", "factual_error"], correction=CORRECTION)
    assert files(event) == "sft dpo eval"
    assert "kto:mixed" in teaching(event).withheld


def test_an_answer_that_was_cut_off_is_neither_good_nor_bad() -> None:
    event = flag(reasons=["factual_error"], correction=CORRECTION, finish="length")
    assert files(event) == "sft eval"
    assert teaching(event).withheld == ["dpo:unfinished", "kto:unfinished"]
    assert files(flag(verdict="good", finish="cancelled")) == ""


def test_incomplete_counts_only_where_the_answer_ended_by_itself() -> None:
    assert files(flag(reasons=["incomplete"])) == "bad eval"
    assert teaching(flag(reasons=["incomplete"], finish="length")).withheld == ["kto:unfinished"]


def test_forgetting_counts_only_where_the_model_was_given_the_turn() -> None:
    everything = flag(reasons=["ignored_history"], earlier=TWO_TURNS)
    nothing = flag(reasons=["ignored_history"], earlier=TWO_TURNS, sent_turns=0)
    first_turn = flag(reasons=["ignored_history"])
    assert files(everything) == "bad eval"
    assert (files(nothing), files(first_turn)) == ("", "")
    assert teaching(nothing).withheld == ["kto:turn_not_sent"]


def test_repetition_counts_once_somebody_has_seen_it_again() -> None:
    event = flag(reasons=["repetition"])
    assert files(event, "accepted") == "bad eval"
    assert teaching(event, "new").withheld == ["kto:not_reproduced"]


def test_a_length_is_a_pair_only_between_answers_of_like_length() -> None:
    short = flag(reasons=["too_long"], answer=LONG, correction="Within 30 days.")
    alike = flag(reasons=["too_long"], answer=LONG, correction=LONG.replace("to you", "here"))
    assert "dpo:length" in teaching(short).withheld
    assert "dpo" in files(alike)


def test_a_maintainers_wording_takes_the_place_of_the_correction() -> None:
    lessons = teaching(flag(reasons=["factual_error"], correction=CORRECTION), wording="60 days.").lessons
    assert {lesson.target for lesson in lessons if lesson.file in ("sft", "dpo", "eval")} == {"60 days."}


def side_by_side(choice: str) -> list[FlagEvent]:
    """Two answers to one question, chosen between: an event on each."""
    messages = {"a": "m-a", "b": "m-b"}
    return [
        flag(
            verdict="mixed",
            answer=f"Answer {position}.",
            message=messages[position],
            conversation="talk",
            extras=Extras(
                comparison=SideBySide(messages["ba"["ab".index(position)]], "", choice, True, position)
            ),
        )
        for position in messages
    ]


@pytest.mark.parametrize(
    ("choice", "chosen", "rejected"),
    [("a_better", "Answer a.", "Answer b."), ("b_better", "Answer b.", "Answer a.")],
)
def test_a_choice_between_two_answers_is_one_pair(choice: str, chosen: str, rejected: str) -> None:
    a, b = (Candidate.of(event, pattern()) for event in side_by_side(choice))
    lessons = teach(a, "new", other=b).lessons
    assert lessons == teach(b, "new", other=a).lessons
    assert [(one.file, one.target, one.against) for one in lessons] == [("dpo", chosen, rejected)]
    assert teach(a, "new").withheld == ["dpo:other_missing"]


@pytest.mark.parametrize(("choice", "expected"), [("tie_good", "good"), ("both_bad", "bad eval")])
def test_a_tie_is_a_vote_on_each(choice: str, expected: str) -> None:
    assert [files(event, "new") for event in side_by_side(choice)] == [expected] * 2


def test_what_was_masked_is_not_an_example() -> None:
    answered = flag(reasons=["misunderstood"], answer="Write to ann@example.org.", correction=CORRECTION)
    corrected = flag(reasons=["misunderstood"], correction="Write to ann@example.org.")
    assert teaching(answered).withheld == ["dpo:masked", "kto:masked"]
    assert "sft:masked" in teaching(corrected).withheld
    assert not [one for one in teaching(corrected).lessons if "[email]" in one.target]
