"""The page of experiments: what it reads, what it draws, what its buttons ask.

Command: python -m pytest tests/app/maintain/test_watching.py
Promise: it shows what an experiment has written so far, escaped; its buttons run the verbs of a terminal.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from app.maintain import watching
from app.maintain.watching import draw, look, names
from backtalk.files import write_json

LINE = {
    "name": "c1", "changes": {}, "told": "lora.r 8", "standing": "running", "step": 4, "steps": 8,
    "bits_per_byte": 1.25, "loss": 0.5, "seconds": 3.0, "parent": "", "why": "",
}  # fmt: skip


def written(home: Path, name: str, *lines: dict[str, Any]) -> Path:
    """An experiment's files as the engine leaves them in the midst of a run."""
    folder = home / "experiments" / name
    state = {"id": name, "recipe": "r", "phase": "training", "lines": [{**LINE, **line} for line in lines]}
    write_json(folder / "state.json", {**state, "started_at": "", "first_comparison": 12.0, "more": {}})
    points = [{"configuration": "c1", "step": step, "bits_per_byte": 2.0 - step / 8} for step in (2, 4, 4)]
    text = "".join(json.dumps(point) + "\n" for point in points)
    (folder / "metrics.jsonl").write_text(text + '{"configuration": "c1", "st')
    return folder


def test_it_shows_what_is_there_so_far(state_folder: Path) -> None:
    written(state_folder, "grid-1", {}, {"name": "c2", "bits_per_byte": None, "loss": None, "step": 0})
    shown = look("grid-1")
    assert names() == ["grid-1"] and shown.configurations == ["c1", "c2"]
    assert shown.rows[0][:4] == ["c1", "running", "4 of 8", "1.2500"]
    assert shown.rows[1][3] == "" and "after 12 s" in shown.told
    assert shown.curves.count("<polyline") == 1  # c2 has no point yet, and the torn line is left out


def test_what_others_wrote_is_escaped(state_folder: Path) -> None:
    curve = draw({"<script>": [(1, 2.0), (2, 1.0)]}, ["<script>"])
    assert "<script>" not in curve and "&lt;script&gt;" in curve


def test_without_an_experiment_it_says_how_to_begin_one(state_folder: Path) -> None:
    assert names() == [] and "backtalk experiment run" in look("").told


def test_a_button_runs_the_verb(state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.ui.experiments import ask, ask_clone

    asked: list[list[str]] = []
    monkeypatch.setattr("app.ui.experiments.tell", lambda words: asked.append(words) or "done")
    assert ask("stop", "grid-1", "c1", "ana") == "done"
    assert ask_clone("grid-1", "c1", "", "optimiser.rate=1e-4 lora.r=8", True) == "done"
    assert "Choose" in ask("stop", "grid-1", None, "ana")
    assert asked == [
        ["stop", "grid-1", "c1", "--by", "ana"],
        ["clone", "grid-1", "c1", "--set", "optimiser.rate=1e-4", "--set", "lora.r=8", "--warm"],
    ]


def test_a_fault_of_the_verb_is_told(state_folder: Path) -> None:
    assert "There is no experiment 'nothing'" in watching.tell(["stop", "nothing", "c1"])
