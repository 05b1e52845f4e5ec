"""`backtalk experiment run`: what it says, what it leaves, what stops it.

Command: python -m pytest tests/training/experiment/test_run.py
Promise: the plan is said before anything starts; a leak ends it with the pairs; a configuration that fails
ends alone; weak ones are left behind where the recipe says so; people and the page can read what is left.
"""

import csv
import json
from pathlib import Path

import pytest

from app.maintain.watching import look, names
from backtalk.card import read_card
from backtalk.errors import BacktalkError
from tests.training.experiment.grids import base, experiment, rows, run, write_grid
from tests.training.teaching import write_rows
from training.experiment.report import main as report
from training.experiment.status import main as status


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("base") / "small")


def test_the_plan_is_said_and_nothing_is_left(
    small: Path, tmp_path: Path, state_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write_grid(tmp_path, small), "--plan") == 0
    told = capsys.readouterr().err
    assert "4 configurations on 1 base, 24 steps in all, compared every 2" in told
    assert "of memory" in told and "on this machine as it is now" in told
    assert not list(state_folder.glob("experiments/*"))


def test_a_planted_leak_ends_it_with_the_pairs(small: Path, tmp_path: Path, state_folder: Path) -> None:
    path = write_grid(tmp_path, small)
    write_rows(tmp_path / "rows.jsonl", [*rows(0, 24), *rows(100, 10)])
    with pytest.raises(BacktalkError, match="10 training rows hold an evaluation prompt") as fault:
        run(path)
    assert str(fault.value).count("exact: ") == 10
    assert not list(state_folder.glob("experiments/*"))


def test_what_is_left_can_be_read(
    small: Path, tmp_path: Path, state_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write_grid(tmp_path, small), "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    folder = experiment(state_folder)
    card = read_card(folder)
    assert (card.kind, card.id, told["id"]) == ("experiment", folder.name, folder.name)
    names_left = {entry["path"] for entry in card.outputs}
    assert {
        "results.csv",
        "metrics.jsonl",
        "comparison.png",
        "EXPERIMENT_REPORT.md",
        "items.jsonl",
    } <= names_left
    assert all(read_card(folder / f"c{n}").kind == "run" for n in range(1, 5))
    table = list(csv.DictReader((folder / "results.csv").open()))
    assert {row["configuration"] for row in table} == {"c1", "c2", "c3", "c4", "zero-1"}
    assert all(float(row["bits_per_byte"]) > 0 for row in table)
    assert status([folder.name]) == 0 and report([folder.name]) == 0
    shown = capsys.readouterr().out
    assert "finished" in shown and "## What each knob did" in shown
    assert names() == [folder.name]
    page = look(folder.name)
    assert page.configurations == ["c1", "c2", "c3", "c4"] and page.curves.count("<polyline") == 4


def test_weak_ones_are_left_behind_and_never_before_the_least_steps(
    small: Path, tmp_path: Path, state_folder: Path
) -> None:
    search = {"chunk": 2, "longest_answer": 4, "early_stop": "asha", "early_least": 2, "early_keep": 2}
    assert run(write_grid(tmp_path, small, experiment=search)) == 0
    lines = {line["name"]: line for line in json.loads(_read(state_folder, "state.json"))["lines"]}
    early = [line for line in lines.values() if line["standing"] == "stopped early"]
    assert len(early) >= 2 and all(line["step"] >= 2 for line in early)
    assert sum(line["standing"] == "finished" for line in lines.values()) >= 1
    assert "stopped early: not among the best" in _read(state_folder, "EXPERIMENT_REPORT.md")


def test_one_that_fails_ends_alone(small: Path, tmp_path: Path, state_folder: Path) -> None:
    huge = {"rate": [0.01, 1e30], "clip": 0.0, "name": "sgd"}
    assert run(write_grid(tmp_path, small, optimiser=huge, lora={"r": 2})) == 0
    lines = {line["name"]: line for line in json.loads(_read(state_folder, "state.json"))["lines"]}
    assert lines["c1"]["standing"] == "finished" and lines["c2"]["standing"] == "failed"
    assert "not a number any more" in lines["c2"]["why"]


def _read(home: Path, name: str) -> str:
    return (experiment(home) / name).read_text()
