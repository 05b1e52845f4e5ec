"""Insights are counts alone: no text, no person, no small group; and many visitors cost one look.

Command: pytest tests/app/flags/test_insights.py
Promise: what everybody may see never shows a group that could be one person.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from app.flags.insights import FRESH_SECONDS, Board, Taught, figures_of
from backtalk.files import write_json, write_jsonl
from backtalk.home import home
from feedback.curate.candidate import Candidate
from feedback.curate.gather import Gathered

MORNING, EVENING = "2026-11-20T08:00:00.000+00:00", "2026-11-20T20:00:00+00:00"
SECRET_WORDS = ("My name is Ada.", "contributor-of-f")


def candidate(name: str, verdict: str = "bad", **more: Any) -> Candidate:
    fields: dict[str, Any] = {
        "event_id": name, "flag_id": name, "revision": 1, "op": "create", "created_at": MORNING,
        "content_hash": name, "contributor": f"contributor-of-{name}", "conversation": "c", "message": name,
        "verdict": verdict, "reasons": ("outdated",), "matter": "", "model": "mini", "round": 0,
        "locale": "en", "turns": (("user", "My name is Ada."),),
    }  # fmt: skip
    return Candidate(**{**fields, **more})


def flags(count: int, prefix: str = "f", **more: Any) -> list[Candidate]:
    return [candidate(f"{prefix}{number}", **more) for number in range(count)]


def seen(found: Iterable[Candidate], rounds: Iterable[Taught] = ()) -> dict[str, Any]:
    return figures_of(Gathered(standing={flag.flag_id: flag for flag in found}), list(rounds))


def taught(number: int, statuses: Mapping[str, str]) -> Taught:
    return Taught(number, EVENING, statuses)


def test_nothing_flagged_is_said_as_nothing() -> None:
    told = seen([])
    assert told["flags"] == 0 and told["good"] is None
    assert told["models"] == told["rounds"] == told["reasons"] == told["fixes"] == []


def test_the_share_of_good_flags_stands_with_its_wilson_interval() -> None:
    told = seen([*flags(30, verdict="good"), *flags(10, "b")])
    assert told["good"] == {"part": 30, "whole": 40, "from": 0.5981, "to": 0.8581}
    assert told["models"] == [{"name": "mini", "round": 0, **told["good"]}]
    assert told["rounds"] == [{"round": 0, **told["good"]}]


def test_a_group_of_nine_is_hidden_and_one_of_ten_is_not() -> None:
    told = seen([*flags(10), *flags(9, "late", round=1, reasons=("misunderstood",))])
    assert [row["round"] for row in told["rounds"]] == [row["round"] for row in told["models"]] == [0]
    assert [row["id"] for row in told["reasons"]] == ["outdated"]
    assert told["hidden"] == {"models": 1, "rounds": 1, "reasons": 1, "fixes": 0}
    nine = seen(flags(9))
    assert nine["flags"] == 9 and nine["good"] is None and nine["hours"]["fixed"] is None


def test_no_text_and_no_contributor_leaves_the_server() -> None:
    told = json.dumps(seen(flags(12), [taught(1, {f"f{number}": "fixed" for number in range(12)})]))
    assert not [words for words in SECRET_WORDS if words in told] and "f11" not in told


def test_what_was_taken_back_counts_no_longer() -> None:
    assert seen([*flags(10), candidate("gone", fault="retracted")])["flags"] == 10


def test_one_of_two_answers_side_by_side_is_no_vote_on_a_model() -> None:
    told = seen([*flags(10), *flags(10, "pair", verdict="mixed", choice="a_better")])
    assert told["flags"] == 20 and told["good"]["whole"] == 10


def test_rounds_are_told_with_what_they_fixed_and_how_long_it_took() -> None:
    first = {f"f{number}": "fixed" for number in range(10)} | {"f10": "still_wrong", "f11": "newly_broken"}
    told = seen(flags(12), [taught(1, first), taught(2, {"f10": "fixed"})])
    assert told["fixes"] == [{"round": 1, "at": EVENING, "fixed": 10, "still_wrong": 1, "newly_broken": 1}]
    assert told["hours"]["fixed"] == 12.0 and told["hidden"]["fixes"] == 1


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that the flags were read."""
    counted: list[int] = []
    monkeypatch.setattr("app.flags.insights._gathered", lambda: counted.append(1) or Gathered())
    return counted


def test_many_visitors_cost_one_look_and_an_unchanged_folder_none(looks: list[int]) -> None:
    now = [0.0]
    board = Board(served=lambda: 0, clock=lambda: now[0])
    first = board.now()
    assert all(board.now() is first for _ in range(50)) and len(looks) == 1
    now[0] += FRESH_SECONDS + 1
    board.now()
    assert len(looks) == 1
    write_jsonl(home() / "segments" / "new.jsonl", [{}])
    assert board.now() is first
    now[0] += FRESH_SECONDS + 1
    board.now()
    assert len(looks) == 2


def test_only_rounds_that_led_to_the_model_that_answers_are_told(looks: list[int]) -> None:
    for number in (1, 2):
        folder = home() / "rounds" / str(number)
        rows = [
            {"flag_id": f"f{flag}", "round": number, "status": "fixed", "then": "", "now": ""}
            for flag in range(10)
        ]
        write_jsonl(folder / "fixed.jsonl", rows)
        card = {
            "kind": "round",
            "id": "r",
            "created_at": EVENING,
            "metrics": {"current": {"round": number - 1}},
        }
        write_json(folder / "card.json", card)
    told = Board(served=lambda: 1).now()
    assert [row["round"] for row in told["fixes"]] == [1] and told["fixes"][0]["at"] == EVENING
