"""The review queue behind the page: what was seen is what is decided on, and nothing is decided twice.

Command: python -m pytest tests/app/maintain/test_review.py
Promise: where somebody else decided or the contributor changed the flag, nothing is written; a decision is
undone by the one who made it, and then all is as it was; contributors' words cannot steer what shows them.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.maintain.review import ReviewDesk, Wanted
from backtalk.errors import WordsError
from backtalk.home import home
from feedback.schema import FlagEvent
from feedback.store.decisions import Decisions, OvertakenError
from feedback.store.outbox import NAME, Outbox
from tests.feedback.events import CORRECTION, again, flag

ALL = Wanted()


def saved(*events: FlagEvent) -> None:
    outbox = Outbox(home() / NAME)
    for event in events:
        outbox.save(replace(event, revision=0))
    outbox.close()


@pytest.fixture
def desk() -> Iterator[ReviewDesk]:
    opened = ReviewDesk()
    yield opened
    opened.close()


def groups(desk: ReviewDesk, wanted: Wanted = ALL) -> list[dict[str, Any]]:
    return desk.look(wanted, "ada")["groups"]


def states() -> dict[str, str]:
    return {name: review.state for name, review in Decisions.at_home().standing().items()}


def test_near_duplicates_are_one_group_and_are_decided_once(desk: ReviewDesk) -> None:
    saved(*(flag(f"who{n}", correction=CORRECTION, question="How long?") for n in range(3)))
    (group,) = groups(desk)
    assert (len(group["flags"]), group["contributors"]) == (3, 3)
    desk.decide("ada", group["flags"], "accepted")
    assert list(states().values()) == ["accepted"] * 3 and groups(desk) == []


def test_whoever_decides_second_hears_so_and_overwrites_nothing(desk: ReviewDesk) -> None:
    saved(flag(correction=CORRECTION))
    (group,) = groups(desk)
    desk.decide("ada", group["flags"], "accepted")
    with pytest.raises(OvertakenError, match="decided while you looked at it: accepted by ada"):
        desk.decide("bob", group["flags"], "rejected")
    assert list(states().values()) == ["accepted"]


def test_what_its_contributor_changed_meanwhile_is_not_decided_on(desk: ReviewDesk) -> None:
    event = flag(correction=CORRECTION)
    saved(event)
    (group,) = groups(desk)
    saved(again(replace(event, comment="No, wait.")))
    with pytest.raises(OvertakenError, match="changed by its contributor"):
        desk.decide("ada", group["flags"], "accepted")
    assert states() == {}


def test_an_undone_decision_leaves_everything_as_it_was(desk: ReviewDesk) -> None:
    saved(flag(correction=CORRECTION))
    first = desk.decide("ada", groups(desk)[0]["flags"], "needs_reference", note="which law?")
    second = desk.decide("bob", first, "accepted", correction="In 61 days.")
    back = desk.undo("bob", second)
    (last,) = Decisions.at_home().standing().values()
    assert (last.state, last.note, last.correction) == ("needs_reference", "which law?", "")
    with pytest.raises(WordsError, match="not yours"):
        desk.undo("ada", back)
    (group,) = groups(desk, Wanted("needs_reference"))
    assert group["decisions"][0]["note"] == "which law?"


def test_undoing_the_only_decision_puts_the_flag_back_into_the_queue(desk: ReviewDesk) -> None:
    saved(flag(correction=CORRECTION))
    made = desk.decide("ada", groups(desk)[0]["flags"], "rejected")
    assert groups(desk) == []
    again_seen = desk.undo("ada", made)
    assert [group["flags"] for group in groups(desk)] == [again_seen]


def test_filters_show_what_fits_them_and_nothing_else(desk: ReviewDesk) -> None:
    saved(
        flag("one", reasons=["outdated"], correction=CORRECTION, question="A?", round=0),
        flag(
            "two",
            reasons=["factual_error"],
            correction="Never on Sundays.",
            question="Sunday hours?",
            round=2,
        ),
    )
    assert desk.look(ALL)["rounds"] == [0, 2]
    assert [group["round"] for group in groups(desk, Wanted(reason="outdated"))] == [0]
    assert [group["round"] for group in groups(desk, Wanted(round=2))] == [2]
    assert groups(desk, Wanted("agreed")) == []
    desk.decide("ada", groups(desk, Wanted(round=2))[0]["flags"], "accepted")
    assert [group["round"] for group in groups(desk, Wanted("accepted"))] == [2]
    assert [group["round"] for group in groups(desk)] == [0]


def test_words_of_contributors_cannot_turn_the_direction_of_writing(desk: ReviewDesk) -> None:
    saved(flag(comment="fine \u202eesrever", correction=CORRECTION))
    assert groups(desk)[0]["comment"] == "fine \\u202eesrever"


@pytest.mark.parametrize(
    ("flags", "state", "correction"),
    [
        ([], "accepted", ""),
        ("all", "accepted", ""),
        ([{"flag": 1}], "accepted", ""),
        ([None], "accepted", ""),
        ([{"flag": "x", "after": "", "matter": ""}] * 1001, "accepted", ""),
        ([{"flag": "x", "after": "", "matter": ""}], "new", ""),
        ([{"flag": "x", "after": "", "matter": ""}], "accepted", "<|eot_id|>"),
        ([{"flag": "x", "after": "", "matter": ""}], "accepted", "a" * 100_000),
    ],
)
def test_a_malformed_decision_is_one_sentence(
    desk: ReviewDesk, flags: Any, state: str, correction: str
) -> None:
    with pytest.raises(WordsError):
        desk.decide("ada", flags, state, correction=correction)
    assert states() == {}
