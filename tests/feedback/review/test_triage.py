"""The queue of a maintainer: what comes first, what belongs together, what looks odd."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from feedback.review.review import MARKS
from feedback.review.triage import Desk, marks_of, queue
from feedback.schema import Consent, FlagEvent
from feedback.store.decisions import Decisions, OvertakenError
from feedback.store.outbox import Outbox
from tests.feedback.events import ANSWER, CORRECTION, flag

LONG = "You can bring it back to any of our shops for as long as it is new and nobody slept in it."


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with closing(Outbox(tmp_path / "outbox.sqlite")) as opened:
        yield opened


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    return Decisions(tmp_path / "reviews.jsonl")


def save(outbox: Outbox, *events: FlagEvent) -> list[FlagEvent]:
    return [outbox.save(replace(event, revision=0)).event for event in events]


def test_severe_ones_come_first_then_what_many_say_then_what_is_new() -> None:
    settled = flag("eve", question="Do you sell boats?")
    events = [
        flag("ann", question="Do you sell boats?", answer="No, never."),
        flag("bob", question="Do you sell skis?"),
        *(flag(f"who{n}", question="Are you open?", correction="Yes, we are.") for n in range(3)),
        flag("cem", question="Do you sell ropes?", severity="critical"),
    ]
    decided = {settled.flag_id: _accepted(settled)}
    groups = queue([*events, settled], decided)
    asked = [group.first.shown.messages[-1].content for group in groups]
    assert asked == ["Do you sell ropes?", "Are you open?", "Do you sell skis?", "Do you sell boats?"]
    assert [len(group.flags) for group in groups] == [1, 3, 1, 1]
    assert groups[1].state == "agreed"


def _accepted(event: FlagEvent):  # type: ignore[no-untyped-def]
    from feedback.store.decisions import Review, matter_of

    return Review(review_id="r1", flag_id=event.flag_id, state="accepted", by="ada", matter=matter_of(event))


def test_near_duplicates_are_shown_together_and_decided_once(outbox: Outbox, decisions: Decisions) -> None:
    save(outbox, flag("ann", answer=LONG), flag("bob", answer=LONG.replace("slept", "was")))
    desk = Desk(outbox, decisions, "ada")
    (group,) = desk.queue()
    desk.decide(group, "rejected")
    assert {review.state for review in decisions.standing().values()} == {"rejected"}
    assert len(decisions.standing()) == 2
    assert desk.queue() == []


def test_different_corrections_are_never_decided_together() -> None:
    events = [flag("ann", correction=CORRECTION), flag("bob", correction=CORRECTION.replace("items", "all"))]
    assert [group.state for group in queue(events, {})] == ["conflict", "conflict"]


def test_what_cannot_be_used_is_not_in_the_queue_but_what_is_unsafe_is() -> None:
    events = [
        flag("ann", consent=Consent()),
        flag("bob", reasons=["slow"]),
        flag("cem", reasons=["harmful"], severity="major"),
    ]
    assert [group.first for group in queue(events, {})] == [events[2]]


def test_undo_restores_what_was_before_and_keeps_the_story(outbox: Outbox, decisions: Decisions) -> None:
    (event,) = save(outbox, flag(correction=CORRECTION))
    desk = Desk(outbox, decisions, "ada")
    desk.decide(desk.queue()[0], "accepted", correction="In 60 days.")
    back = desk.undo()
    assert back is not None and desk.undo() is None
    assert [review.state for review in decisions.history(event.flag_id)] == ["accepted", "new"]
    assert len(desk.queue()) == 1
    desk.decide(back, "rejected")
    assert decisions.last(event.flag_id).state == "rejected"  # type: ignore[union-attr]


def test_of_two_desks_the_second_is_told_and_sees_the_queue_anew(
    outbox: Outbox, decisions: Decisions
) -> None:
    save(outbox, flag(correction=CORRECTION))
    ada, bob = Desk(outbox, decisions, "ada"), Desk(outbox, decisions, "bob")
    group = bob.queue()[0]
    ada.decide(ada.queue()[0], "accepted")
    with pytest.raises(OvertakenError, match="by ada"):
        bob.decide(group, "rejected")
    assert bob.queue() == []


def test_a_flag_that_changed_comes_back(outbox: Outbox, decisions: Decisions) -> None:
    (event,) = save(outbox, flag(correction=CORRECTION))
    desk = Desk(outbox, decisions, "ada")
    desk.decide(desk.queue()[0], "accepted")
    save(outbox, flag(correction="In 90 days.", last=event))
    (group,) = desk.queue()
    desk.decide(group, "rejected")
    assert desk.queue() == []


def test_marks_tell_of_haste_copies_and_floods() -> None:
    copied = [flag(f"who{n}", correction=CORRECTION) for n in range(3)]
    fast = replace(flag("ann", question="Fast?"), time_to_flag_ms=300)
    many = [flag("bob", question=f"Question {n}?", answer=f"{ANSWER} {n}") for n in range(31)]
    marks = {group.first.flag_id: group.marks for group in queue([*copied, fast, *many], {})}
    assert marks[fast.flag_id] == ("fast",)
    assert marks[many[0].flag_id] == ("many",)
    assert ("copied",) in marks.values()


def test_a_mark_tells_of_names_that_always_say_the_same() -> None:
    gang = [
        flag(who, correction=f"It is {n}.", question=f"Question {n}?", conversation=f"{who}-{n}")
        for who in ("gil", "han")
        for n in range(3)
    ]
    others = [flag(who, correction="It is 1.", question="Question 1?") for who in ("ann", "bob")]
    marked = {name for name, found in marks_of([*gang, *others]).items() if "one_voice" in found}
    assert marked == {event.flag_id for event in gang}
    assert all(mark in MARKS for group in queue([*gang, *others], {}) for mark in group.marks)
