"""Decisions of maintainers: nobody overwrites anybody, and every order of arrival tells the same story."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from backtalk.errors import FlagError
from feedback.decisions import Decisions, OvertakenError, Review, from_row, matter_of, standing, to_row
from tests.feedback.events import CORRECTION, again, flag


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    return Decisions(tmp_path / "reviews.jsonl")


def review(state: str = "accepted", after: str = "", by: str = "ada", **more: str) -> Review:
    event = flag(correction=CORRECTION)
    return Review(flag_id=event.flag_id, after=after, state=state, by=by, matter=matter_of(event), **more)


def test_a_decision_stands_and_the_next_one_follows_it(decisions: Decisions) -> None:
    (first,) = decisions.decide(review())
    (second,) = decisions.decide(review("rejected", after=first.review_id))
    assert decisions.standing() == {second.flag_id: second}
    assert decisions.history(first.flag_id) == [first, second]


def test_two_maintainers_at_once_do_not_overwrite_each_other(decisions: Decisions) -> None:
    decisions.decide(review(by="ada"))
    with pytest.raises(OvertakenError, match="accepted by ada"):
        decisions.decide(review("rejected", by="bob"))
    assert decisions.last(review().flag_id).state == "accepted"  # type: ignore[union-attr]


def test_of_several_decisions_all_are_written_or_none(decisions: Decisions) -> None:
    (first,) = decisions.decide(review())
    other = replace(review(), flag_id=flag("bob").flag_id)
    with pytest.raises(OvertakenError):
        decisions.decide(other, review("rejected"))
    assert list(decisions.events()) == [first]


def test_every_order_of_arrival_gives_the_same_state(decisions: Decisions, tmp_path: Path) -> None:
    elsewhere = Decisions(tmp_path / "elsewhere.jsonl")
    (first,) = decisions.decide(review())
    (second,) = decisions.decide(review("rejected", after=first.review_id))
    (apart,) = elsewhere.decide(review("safety"))
    states = {tuple(standing(order).values()) for order in itertools.permutations([first, second, apart])}
    assert states == {(second,)}


def test_a_line_that_a_power_cut_tore_is_as_if_it_had_never_been(decisions: Decisions) -> None:
    (first,) = decisions.decide(review())
    with open(decisions.path, "ab") as file:
        file.write(b'{"format": "review/1", "rev')
    assert decisions.last(first.flag_id) == first
    (second,) = decisions.decide(review("rejected", after=first.review_id))
    assert [one.review_id for one in decisions.events()] == [first.review_id, second.review_id]


def test_a_note_is_masked_and_a_wording_stays_as_it_is(decisions: Decisions) -> None:
    (written,) = decisions.decide(
        review(note="asked ann@example.org", correction="Write to help@shop.example.")
    )
    assert (written.note, written.correction) == ("asked [email]", "Write to help@shop.example.")


def test_the_matter_changes_with_the_words_and_not_with_the_consent() -> None:
    event = flag(correction=CORRECTION)
    assert matter_of(again(event)) == matter_of(event)
    assert matter_of(flag(correction="Something else.")) != matter_of(event)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "agreed"},
        {"state": "fine"},
        {"by": ""},
        {"flag_id": None},
        {"extra": 1},
        {"note": "changed"},
    ],
)
def test_what_breaks_the_format_is_refused(decisions: Decisions, change: dict) -> None:
    (written,) = decisions.decide(review())
    with pytest.raises(FlagError, match="refused"):
        from_row(json.loads(json.dumps({**to_row(written), **change})))
