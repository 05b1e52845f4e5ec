"""What became of a flag is told from the rounds' files: the latest round that is served, and no broken line.

Command: pytest tests/app/flags/test_fixes.py
Promise: a round that was rolled back or stopped by the gate fixed nothing, whatever is served after it.
"""

from typing import Any

import pytest

from app.flags.fixes import Fixes
from backtalk.files import write_json, write_jsonl
from backtalk.home import home


def row(flag: str, status: str = "fixed", **more: Any) -> dict[str, Any]:
    return {"flag_id": flag, "round": 1, "status": status, "then": "30 days.", "now": "45 days.", **more}


def round_of(number: int, *rows: Any, after: int | None = None) -> None:
    """A round that began when `after` was served: the one before it, if nothing else is said."""
    folder = home() / "rounds" / str(number)
    write_jsonl(folder / "fixed.jsonl", rows)
    write_json(
        folder / "card.json",
        {"metrics": {"current": {"round": number - 1 if after is None else after}}},
    )


def test_without_rounds_nothing_is_told() -> None:
    assert Fixes().of(["f1"], served=3) == {}


def test_a_flag_is_told_with_its_round_and_others_are_not() -> None:
    round_of(3, row("f1"), row("f2"))
    told = {"round": 3, "status": "fixed", "then": "30 days.", "now": "45 days."}
    assert Fixes().of(["f1"], served=3) == {"f1": told}


def test_the_latest_round_that_led_to_the_one_that_answers_is_told() -> None:
    round_of(1, row("f1"), row("f2"))
    round_of(2, row("f1", "still_wrong"))
    round_of(3, row("f1", "newly_broken"))
    fixes = Fixes()
    assert [fixes.of(["f1"], served)["f1"]["status"] for served in (1, 2, 3)] == [
        "fixed",
        "still_wrong",
        "newly_broken",
    ]
    assert fixes.of(["f1", "f2"], 3)["f2"]["round"] == 1
    assert fixes.of(["f1"], served=0) == {}


def test_a_round_that_the_next_one_did_not_begin_with_fixed_nothing_unless_it_answers() -> None:
    round_of(1, row("f1"))
    round_of(2, row("f2"))  # rolled back, or stopped by the gate
    round_of(3, row("f3"), after=1)
    fixes, flags = Fixes(), ["f1", "f2", "f3"]
    assert fixes.of(flags, served=3).keys() == {"f1", "f3"}
    assert fixes.of(flags, served=2).keys() == {"f1", "f2"}


def test_before_the_card_of_a_promoted_round_is_written_its_state_says_what_was_before() -> None:
    round_of(1, row("f1"))
    write_json(home() / "rounds" / "2" / "round.json", {"current": {"round": 1}})
    assert Fixes().of(["f1"], served=2)["f1"]["round"] == 1


@pytest.mark.parametrize("odd", [[], {}, {"metrics": {"current": {"round": 2}}}, {"metrics": {"current": 1}}])
def test_an_odd_card_ends_the_line(odd: Any) -> None:
    round_of(2, row("f1"))
    write_json(home() / "rounds" / "2" / "card.json", odd)
    assert Fixes().of(["f1"], served=2)["f1"]["round"] == 2


def test_a_file_that_grew_is_read_again() -> None:
    fixes = Fixes()
    round_of(1, row("f1"))
    assert fixes.of(["f2"], served=1) == {}
    round_of(1, row("f1"), row("f2"))
    assert fixes.of(["f2"], served=1)["f2"]["round"] == 1


def test_the_edition_changes_when_a_round_that_is_served_has_something_to_tell() -> None:
    fixes = Fixes()
    seen = [fixes.edition(served=2)]
    round_of(2)
    seen.append(fixes.edition(served=2))
    round_of(3, row("f1"))
    assert fixes.edition(served=2) == seen[-1]
    round_of(2, row("f1"))
    seen.append(fixes.edition(served=2))
    assert len(set(seen)) == 3


@pytest.mark.parametrize("odd", [[], "x", {}, row("f2", "perhaps"), row("f2", now=None), {"flag_id": 5}])
def test_an_odd_row_is_left_out_and_the_others_are_told(odd: Any) -> None:
    round_of(1, odd, row("f1"))
    assert Fixes().of(["f1", "f2"], served=1).keys() == {"f1"}


def test_a_torn_file_tells_nothing_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    round_of(1, row("f1"))
    path = home() / "rounds" / "1" / "fixed.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    fixes = Fixes()
    assert [fixes.of(["f1"], served=1) for _ in range(2)] == [{}, {}]
    assert capsys.readouterr().err.count("What became of its flags is not shown") == 1
