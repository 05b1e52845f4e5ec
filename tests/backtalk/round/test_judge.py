"""Few items of earlier rounds and the gate: neither they nor the task test make up for each other.

Command: python -m pytest tests/backtalk/round/test_judge.py
Promise: a task test that fails is not rescued by what was gained elsewhere; one lost item is enough to ask.
"""

from pathlib import Path
from typing import Any

import pytest

from backtalk.files import write_json, write_jsonl
from backtalk.round import acts
from backtalk.round.judge import lost_any, together
from backtalk.round.recipe import RoundRecipe
from backtalk.round.state import Rounds


def rows(part: str, kept: int, fixed: int = 0, broken: int = 0) -> list[dict[str, Any]]:
    outcomes = [(1, 1)] * kept + [(0, 1)] * fixed + [(1, 0)] * broken
    return [
        {"id": f"{part}/{n}", "part": part, "cluster": f"{part}/{n}",
         "baseline": {"right": float(before)}, "model": {"right": float(after)}}
        for n, (before, after) in enumerate(outcomes)
    ]  # fmt: skip


def judged(word: str, earlier: list[dict[str, Any]], lost: bool) -> dict[str, Any]:
    """The verdict of a round whose gate said this of its task test of 600 items, none of which changed."""
    state = Rounds().begin({}, {}, "ann")
    first, second = (state.folder / name for name in ("earlier", "evaluation"))
    write_jsonl(first / "items.jsonl", earlier)
    write_jsonl(second / "items.jsonl", rows("task", 600))
    task = {
        "name": "task test",
        "standing": {"PROMOTE": "shown"}.get(word, "broken"),
        "why": "Task test: so.",
    }
    verdict = {"verdict": word, "why": task["why"], "more_items": 0, "conditions": [task]}
    write_json(second / "verdict.json", verdict)
    state.note("earlier", {"folder": str(first), "lost": lost, "alone": {"standing": "open"}})
    return acts._judged(acts.Round(state, RoundRecipe(), Rounds(), print, print), second)


@pytest.mark.parametrize(
    ("earlier", "lost", "verdict"),
    [
        (rows("primary", 30), False, "PROMOTE"),
        (rows("primary", 29, broken=1), True, "PROMOTE"),
        (rows("primary", 10, broken=30), True, "REJECT"),
    ],
)
def test_items_of_earlier_rounds_that_were_lost_are_judged_with_the_task_test(
    state_folder: Path, earlier: list[dict[str, Any]], lost: bool, verdict: str
) -> None:
    said = judged("PROMOTE", earlier, lost)
    assert said["verdict"] == verdict
    assert ("task test and earlier rounds" in [one["name"] for one in said["conditions"]]) is lost


def test_what_was_gained_on_earlier_items_does_not_rescue_the_task_test(state_folder: Path) -> None:
    earlier = rows("primary", 0, fixed=39, broken=1)
    assert together(rows("task", 600), earlier)[0]["standing"] == "shown"
    said = judged("REJECT", earlier, True)
    assert (said["verdict"], said["why"]) == ("REJECT", "Task test: so.")


def test_one_lost_item_counts_whatever_was_gained_beside_it() -> None:
    change = {"part": "primary", "fixed": 9, "newly_broken": 1}
    gained = {"part": "primary", "metric": "rougeL", "value": 0.5}
    assert lost_any({"changes": [change], "differences": [gained]})
    assert not lost_any({"changes": [change | {"newly_broken": 0}], "differences": [gained]})
