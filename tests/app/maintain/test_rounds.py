"""Rounds as the page shows them, at any moment of their work.

Command: python -m pytest tests/app/maintain/test_rounds.py
Promise: each act is done, under way or to come, as round.json has it; a round without a card could go on; the
verdict is shown with its intervals.
"""

import fcntl
from pathlib import Path
from typing import Any

import pytest

from app.maintain import rounds
from backtalk.card import Card, write_card
from backtalk.errors import WordsError
from backtalk.files import write_json
from backtalk.home import home

CURRENT = {"ref": "mini", "name": "mini", "sha256": "0" * 64, "round": 0}
DIFFERENCE = {
    "part": "primary", "metric": "right", "value": 0.4, "low": 0.2, "high": 0.6, "items": 40, "prompt": "",
}  # fmt: skip


def written(number: int, *acts: str, said: dict[str, Any] | None = None) -> Path:
    """A round's folder after these acts."""
    folder = home() / "rounds" / str(number)
    done = {
        name: {"words": [f"{name} it"], "seconds": 2.0, "said": (said or {}).get(name, {})} for name in acts
    }
    done["sync"] = {"words": [], "seconds": 0.0, "said": {}}
    state = {"format": "round/1", "number": number, "recipe": {}, "current": CURRENT, "by": "ada"}
    write_json(folder / "round.json", {**state, "fresh": False, "acts": done})
    return folder


def standing(number: int) -> dict[str, str]:
    return {act["name"]: act["state"] for act in rounds.look(number)["acts"]}


def test_the_act_under_way_is_the_first_that_is_not_done() -> None:
    folder = written(1, "replay", "curate")
    (folder / "train.log").write_text("sft step 1/40\nsft step 2/40\n")
    with open(home() / "rounds" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = standing(1)
        assert (found["curate"], found["train"], found["export"]) == ("done", "runs", "waits")
        assert rounds.look(1)["log"].endswith("sft step 2/40\n")
    assert standing(1)["train"] == "stopped" and rounds.listed()[0]["state"] == "stopped"


def test_a_finished_round_shows_its_verdict_with_its_intervals() -> None:
    said = {"evaluate": {"metrics": {"differences": [DIFFERENCE, {**DIFFERENCE, "metric": "words"}]}}}
    folder = written(2, *rounds.ACTS, said=said)
    conditions = [{"name": "primary set", "standing": "shown", "why": "Primary set: better."}]
    write_json(
        folder / "verdict.json",
        {"verdict": "PROMOTE", "why": "better", "more_items": 0, "conditions": conditions},
    )
    (folder / "REPORT.md").write_text("# Round 2: PROMOTE\n")
    verdict = {"verdict": "PROMOTE", "why": "better", "more_items": 0}
    write_card(folder, Card("round", "round2", metrics={"promoted": True, "used": 30}, verdicts=[verdict]))
    found = rounds.look(2)
    assert (found["verdict"]["verdict"], found["promoted"], found["state"]) == ("PROMOTE", True, "done")
    assert [(one["metric"], one["low"], one["high"]) for one in found["differences"]] == [("right", 0.2, 0.6)]
    assert set(standing(2).values()) == {"done"} and found["report"].startswith("# Round 2")


def test_the_end_of_a_long_log_is_shown_from_a_whole_line_on() -> None:
    folder = written(1, "replay", "curate")
    (folder / "train.log").write_text("".join(f"step {n} of 100000\n" for n in range(2000)))
    log = rounds.look(1)["log"]
    assert log.startswith("step ") and log.endswith("step 1999 of 100000\n") and len(log) < 9000


def test_the_newest_round_is_first_and_an_unknown_one_is_a_sentence() -> None:
    written(1)
    written(10)
    (home() / "rounds" / "3").mkdir()  # a folder that no round has begun in
    assert [row["number"] for row in rounds.listed()] == [10, 1]
    with pytest.raises(WordsError, match="There is no round 3 here"):
        rounds.look(3)
