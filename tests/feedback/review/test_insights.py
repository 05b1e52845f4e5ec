"""The figures: right, with an honest interval, and silent about groups that are too small."""

import pytest

from backtalk.files import write_json, write_jsonl
from backtalk.home import home
from feedback.curate.controls import pattern
from feedback.curate.gather import gather
from feedback.review.insights import Insights, Share, look
from feedback.schema import Consent, FlagEvent
from feedback.store.decisions import Review, content_hash, matter_of, to_row
from tests.feedback.events import CORRECTION, QUESTION, flag, segment


def insights(*events: FlagEvent | dict, answers: int = 0) -> Insights:
    source = segment(home() / "events.jsonl", events)
    return look(gather([source], pattern()), home() / "curated", answers)


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(0, 10, 0.0, 0.278), (5, 10, 0.237, 0.763), (10, 10, 0.722, 1.0), (900, 1000, 0.880, 0.917)],
)
def test_the_interval_is_wilsons(part: int, whole: int, low: float, high: float) -> None:
    assert Share(part, whole).interval == pytest.approx((low, high), abs=0.001)


def test_every_standing_flag_is_counted_whatever_it_may_be_used_for() -> None:
    first = flag("ann", reasons=["outdated"])
    found = insights(
        first,
        flag("ann", retract=True, last=first),
        flag("bob", "good", ["accurate", "clear"]),
        flag("cem", reasons=["slow"], consent=Consent()),
        flag("dan", reasons=["outdated"], round=1),
        answers=100,
    )
    assert found.flags == 3
    assert found.reasons == {"accurate": 1, "clear": 1, "outdated": 1, "slow": 1}
    assert found.good == {"mini, round 0": Share(1, 2), "mini, round 1": Share(0, 1)}
    assert found.flagged == Share(3, 100)


def test_conflicts_name_the_question_and_who_says_what() -> None:
    found = insights(
        flag("ann", correction=CORRECTION),
        flag("bob", correction=CORRECTION.upper()),
        flag("cem", correction="No."),
    )
    (conflict,) = found.conflicts
    assert conflict.question == QUESTION
    assert sorted(conflict.corrections.values()) == [1, 2]


def test_groups_below_ten_are_hidden() -> None:
    many = [flag(f"who{n}", reasons=["hate_bias"] if n < 3 else [], locale="de") for n in range(10)]
    few = [flag(f"other{n}", reasons=["hate_bias"], locale="fr") for n in range(9)]
    found = insights(*many, *few)
    assert found.bias == found.safety == {"de, round 0": Share(3, 10)}
    assert found.hidden == 1


def test_the_way_of_a_flag_is_timed_to_its_decision_and_its_first_set() -> None:
    event = flag(correction=CORRECTION)
    day = event.created_at[:10]
    review = Review(
        review_id="r1", flag_id=event.flag_id, state="accepted", by="ada", at="2036-01-01T00:00:00Z",
        matter=matter_of(event),
    )  # fmt: skip
    from dataclasses import replace

    review = replace(review, content_hash=content_hash(review))
    folder = home() / "curated" / "one"
    write_jsonl(folder / "manifest.jsonl", [{"flag_id": event.flag_id, "used": True}])
    write_json(
        folder / "card.json", {"kind": "curated set", "id": "one", "created_at": "2036-01-02T00:00:00+00:00"}
    )
    found = insights(event, to_row(review))
    assert found.hours_to_set - found.hours_to_decision == pytest.approx(24)
    assert list(found.days) == [day]
