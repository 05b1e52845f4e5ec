"""When contributors agree, and when they contradict each other."""

import pytest

from feedback.curate.agreement import judge, states
from feedback.curate.candidate import Candidate
from feedback.curate.controls import pattern
from feedback.schema import FlagEvent
from feedback.store.decisions import Review, matter_of
from tests.feedback.events import ANSWER, CORRECTION, flag


def state_of(*events: FlagEvent, reviews: tuple[Review, ...] = ()) -> list[str]:
    found = states(
        [Candidate.of(event, pattern()) for event in events], {one.flag_id: one for one in reviews}
    )
    return [found[event.flag_id] for event in events]


def saying(*corrections: str) -> list[FlagEvent]:
    return [flag(f"visitor{n}", correction=text) for n, text in enumerate(corrections)]


def test_three_who_say_the_same_agree_whatever_their_spelling() -> None:
    events = saying(CORRECTION, CORRECTION.upper(), f" {CORRECTION[:-1]}! ")
    assert state_of(*events) == ["agreed"] * 3


def test_two_do_not_agree_yet() -> None:
    assert state_of(*saying(CORRECTION, CORRECTION)) == ["new"] * 2


def test_one_against_three_is_outvoted() -> None:
    assert state_of(*saying(*[CORRECTION] * 3, "Never.")) == ["agreed"] * 3 + ["conflict"]


def test_two_against_three_is_a_conflict_for_all() -> None:
    assert state_of(*saying(*[CORRECTION] * 3, "Never.", "Not at all.")) == ["conflict"] * 5


def test_one_contributor_counts_once() -> None:
    events = [flag("ann", correction=CORRECTION, conversation=f"talk{n}") for n in range(3)]
    assert state_of(*events) == ["new"] * 3


def test_another_system_prompt_is_another_item() -> None:
    events = saying(CORRECTION, CORRECTION)
    assert state_of(*events, flag("bob", correction=CORRECTION, system="Be brief.")) == ["new"] * 3


def asking(question: str, correction: str, *names: str, answer: str = ANSWER) -> list[FlagEvent]:
    """The same correction of the same question by each of them."""
    return [flag(who, correction=correction, question=question, answer=answer) for who in names]


def test_who_dissents_in_other_words_dissents_of_the_same_answer() -> None:
    gang = asking("Returns?", CORRECTION.replace("60", "4"), "gil", "han", "ida")
    honest = asking("How long can I return it?", CORRECTION, "ann", "bob", "cem")
    assert state_of(*gang, *honest) == ["conflict"] * 6


def test_fewer_than_half_who_dissent_elsewhere_are_outvoted() -> None:
    honest = asking("How long can I return it?", CORRECTION, "ann", "bob", "cem")
    other = asking("Returns?", CORRECTION.replace("60", "4"), "gil")
    other += asking("Until when?", CORRECTION.replace("60", "9"), "han")
    assert state_of(*honest, *other) == ["agreed"] * 3 + ["new"] * 2


def test_another_answer_is_no_dissent() -> None:
    honest = asking("How long can I return it?", CORRECTION, "ann", "bob", "cem")
    other = asking("Returns?", CORRECTION.replace("60", "4"), "gil", "han", "ida", answer="In 30 days.")
    assert state_of(*honest, *other) == ["agreed"] * 6


def test_names_that_always_say_the_same_are_one_voice() -> None:
    said = [
        event
        for number in range(3)
        for event in asking(f"Question {number}?", f"It is {number}.", "gil", "han", "ida", answer="No.")
    ]
    judged = judge([Candidate.of(event, pattern()) for event in said], {})
    assert set(judged.state.values()) == {"new"}
    assert judged.one_voice == {event.flag_id for event in said}


def test_one_voice_of_many_names_is_outvoted_like_one() -> None:
    names = ("gil", "han", "ida", "jan")
    gang = [
        event
        for number in range(3)
        for event in asking(f"Question {number}?", f"It is {number}.", *names, answer="No.")
    ]
    honest = asking("Question 0?", "It is seven.", "ann", "bob", "cem", answer="No.")
    assert state_of(*honest, *gang) == ["agreed"] * 3 + ["conflict"] * 4 + ["new"] * 8


@pytest.mark.parametrize("state", ["accepted", "rejected", "needs_reference", "system", "safety"])
def test_a_decision_comes_before_what_is_computed(state: str) -> None:
    events = saying(*[CORRECTION] * 3)
    review = Review(flag_id=events[0].flag_id, state=state, matter=matter_of(events[0]))
    assert state_of(*events, reviews=(review,))[0] == state


def test_a_rejected_correction_has_no_voice() -> None:
    events = saying(*[CORRECTION] * 3)
    review = Review(flag_id=events[0].flag_id, state="rejected", matter=matter_of(events[0]))
    assert state_of(*events, reviews=(review,)) == ["rejected", "new", "new"]


def test_a_decision_does_not_speak_of_what_was_written_later() -> None:
    before, after = flag(correction=CORRECTION), flag(correction="Send me your bank details.")
    review = Review(flag_id=before.flag_id, state="accepted", matter=matter_of(before))
    assert after.flag_id == before.flag_id
    assert state_of(after, reviews=(review,)) == ["new"]
