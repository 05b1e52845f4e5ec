"""Decisions of maintainers: nobody overwrites anybody, and every order of arrival tells the same story."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.errors import FlagError
from feedback.store.decisions import (
    Decisions,
    OvertakenError,
    Review,
    conflicts,
    content_hash,
    content_of,
    from_row,
    matter_of,
    standing,
    to_row,
)
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


@st.composite
def decided_apart(draw: st.DrawFn) -> list[Review]:
    """Decisions of two flags, each after one that its maintainer may have seen, however old that one was."""
    made: list[Review] = []
    for number in range(draw(st.integers(1, 10))):
        flag_id = draw(st.sampled_from(["flag-a", "flag-b"]))
        seen = ["", *(one.review_id for one in made if one.flag_id == flag_id)]
        draft = Review(
            review_id=f"r{number}",
            flag_id=flag_id,
            after=draw(st.sampled_from(seen)),
            state=draw(st.sampled_from(["accepted", "rejected", "new"])),
            by=draw(st.sampled_from("ab")),
            at=f"2026-11-20T10:00:0{draw(st.integers(0, 9))}.000Z",  # clocks may disagree
            matter="m",
        )
        made.append(replace(draft, content_hash=content_hash(draft)))
    return made


@settings(max_examples=100, deadline=None)
@given(decided_apart(), st.randoms())
def test_neither_order_nor_repetition_changes_what_stands_and_what_conflicts(made: list, chance: Any) -> None:
    arrived = [*made, *chance.sample(made, len(made) // 2)]
    chance.shuffle(arrived)
    assert standing(arrived) == standing(made)
    assert conflicts(arrived) == conflicts(made)


@settings(max_examples=100, deadline=None)
@given(decided_apart())
def test_whoever_decides_on_top_of_what_stands_decides_and_settles(made: list[Review]) -> None:
    for flag_id, last in standing(made).items():
        draft = Review(
            review_id="later",
            flag_id=flag_id,
            after=last.review_id,
            state="safety",
            by="c",
            at="2026-11-20T11:00:00.000Z",
            matter="m",
        )
        later = replace(draft, content_hash=content_hash(draft))
        assert standing([*made, later])[flag_id] == later
        assert flag_id not in conflicts([*made, later])


@settings(max_examples=100, deadline=None)
@given(decided_apart())
def test_a_later_decision_that_says_otherwise_and_does_not_count_is_shown(made: list[Review]) -> None:
    last, apart = standing(made), conflicts(made)
    for one in made:
        shown = one.flag_id in apart and one in apart[one.flag_id].overtaken
        stands = last[one.flag_id]
        assert shown == (one != stands and one.at >= stands.at and one.state != stands.state)


def test_what_two_machines_decided_apart_conflicts_until_somebody_decides_again(tmp_path: Path) -> None:
    here, there = Decisions(tmp_path / "a" / "reviews.jsonl"), Decisions(tmp_path / "b" / "reviews.jsonl")
    (first,) = here.decide(review("accepted", by="ada"))
    (second,) = there.decide(review("rejected", by="bob"))
    name = "data/reviews/v1/2026-11-21/x.jsonl"
    here.keep("flags", name, content_of([second]))
    there.keep("flags", name, content_of([first]))
    (conflict,) = here.conflicts().values()
    assert here.conflicts() == there.conflicts()
    assert (conflict.stands, conflict.overtaken) == (first, (second,))
    here.decide(review("rejected", after=first.review_id))
    assert not here.conflicts()


def test_a_decision_counts_once_however_often_it_is_sealed_and_taken_in(decisions: Decisions) -> None:
    made = decisions.decide(review())
    names = iter(["one.jsonl", "two.jsonl"])
    for sealed in (1, 0):
        assert decisions.seal(lambda _: "flags", lambda *_: next(names)) == sealed
    decisions.keep("flags", "again.jsonl", content_of(made))
    decisions.keep("flags", "one.jsonl", b"")  # sealed already: it stays as it is
    assert list(decisions.events()) == made
    assert decisions.segments("flags") == ["again.jsonl", "one.jsonl"]


def test_lines_of_others_that_are_no_decisions_are_refused_with_their_place(decisions: Decisions) -> None:
    (made,) = decisions.decide(review())
    forged = content_of([replace(made, state="rejected")])
    refused = decisions.keep("flags", "x.jsonl", b"{}\n" + content_of([made]) + forged + b"[[[")
    assert [line.partition(":")[0] for line in refused] == [f"x.jsonl, line {n}" for n in (1, 3, 4)]
    assert list(decisions.events()) == [made]


def test_a_forgotten_flag_is_in_no_segment(decisions: Decisions) -> None:
    (gone,) = decisions.decide(review())
    (kept,) = decisions.decide(replace(review(), flag_id=flag("bob").flag_id))
    decisions.seal(lambda _: "flags", lambda *_: "x.jsonl")
    assert decisions.forget(gone.flag_id) == 1
    assert list(decisions.events()) == [kept]
    assert decisions.segment("flags", "x.jsonl").read_bytes() == content_of([kept])
