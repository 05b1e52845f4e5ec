"""The engine of experiments, in one process: many configurations on one base, each as if it were alone.

Command: python -m pytest tests/training/experiment/test_engine.py
Promise: each configuration ends with the weights of its separate run, bit by bit; bases are in memory once;
all advance together; a kill, a stop, a resume or a clone changes no result of another.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from backtalk.files import read_json, sha256_of
from tests.training.experiment.grids import (
    CHUNK,
    STEPS,
    base,
    experiment,
    people_ask,
    people_interrupt,
    run,
    write_grid,
)
from training.backends.with_peft import open_base
from training.experiment import crew
from training.experiment.control import history
from training.experiment.points import Points
from training.experiment.share import view
from training.train import main as train

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crew, "usable_cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("base") / "small")


@pytest.fixture(scope="module")
def undisturbed(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an experiment to which nothing happened."""
    place = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKTALK_HOME", str(place / "home"))
        assert run(write_grid(place, small)) == 0
        yield experiment(place / "home")


def test_each_configuration_equals_its_separate_run(
    undisturbed: Path, tmp_path: Path, state_folder: Path
) -> None:
    for name in ("c1", "c4"):
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(yaml.safe_dump(read_json(undisturbed / name / "recipe.json")))
        assert train([str(recipe)]) == 0
    alone = {path.parent.name.split("-")[1]: path for path in state_folder.glob("runs/*/card.json")}
    for name, card in alone.items():
        assert adapter(card.parent) == adapter(undisturbed / name)
        assert losses(card.parent) == losses(undisturbed / name)
        assert read_json(card)["id"] == read_json(undisturbed / name / "card.json")["id"]


def test_all_advance_together(undisturbed: Path) -> None:
    lines = [json.loads(line) for line in (undisturbed / "metrics.jsonl").read_text().splitlines()]
    order = [(row["step"], row["configuration"]) for row in lines if row["step"]]
    assert order == [(step, f"c{n}") for step in range(CHUNK, STEPS + 1, CHUNK) for n in (1, 2, 3, 4)]


def test_a_view_of_a_base_holds_no_weights_of_its_own(small: Path) -> None:
    from training.base import find_base
    from training.experiment.prepare import Preparation  # noqa: F401  (what loads a base loads its libraries)
    from training.recipe import Recipe
    from training.run import plan_for

    found = find_base(str(small), "")
    recipe = Recipe(name="view", backend="peft")
    model = open_base(recipe, found, plan_for(recipe, found, 8, lambda _: None)[1])
    other = view(model)
    assert {id(one) for one in other.parameters()} == {id(one) for one in model.parameters()}
    assert all(one is not two for one, two in zip(model.modules(), other.modules(), strict=True))


def test_interrupted_at_any_chunk_it_ends_with_the_same_table(
    small: Path, undisturbed: Path, tmp_path: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_grid(tmp_path, small)
    with monkeypatch.context() as patch:
        people_interrupt(patch)
        assert run(recipe) == 130
        assert run(recipe) == 130
    assert run(recipe) == 0
    assert table(experiment(state_folder)) == table(undisturbed)
    for name in ("c1", "c2", "c3", "c4"):
        assert adapter(experiment(state_folder) / name) == adapter(undisturbed / name)


def test_killed_in_the_midst_of_a_round_it_ends_with_the_same_table(
    small: Path, undisturbed: Path, tmp_path: Path, state_folder: Path
) -> None:
    recipe = write_grid(tmp_path, small)
    words = [sys.executable, "-m", "backtalk", "experiment", "run", str(recipe)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and compared(state_folder) < 6:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert run(recipe) == 0
    assert table(experiment(state_folder)) == table(undisturbed)
    for name in ("c1", "c2", "c3", "c4"):
        assert adapter(experiment(state_folder) / name) == adapter(undisturbed / name)


def test_stop_resume_and_clone_are_done_between_chunks_and_told(
    small: Path, undisturbed: Path, tmp_path: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people_ask(monkeypatch)
    assert run(write_grid(tmp_path, small)) == 0
    folder = experiment(state_folder)
    assert [(one.request.action, one.request.by) for one in history(folder)] == [
        ("stop", "ana"), ("clone", "ben"), ("resume", "ana"),
    ]  # fmt: skip
    assert adapter(folder / "c2") == adapter(undisturbed / "c2")  # stopped and gone on with
    assert adapter(folder / "c1") == adapter(undisturbed / "c1")  # its clone did not touch it
    cloned = history(folder)[1]
    assert cloned.made == "c5" and cloned.warm == cloned.step and cloned.step % CHUNK == 0
    steps = [row["step"] for row in rows_of(folder / "c5")]
    assert steps == list(range(cloned.warm + 1, STEPS + 1))
    report = (folder / "EXPERIMENT_REPORT.md").read_text()
    assert f"| ben | clone | c1 | {cloned.step} | made c5, warm: optimiser.rate 0.02 |" in report


def test_random_numbers_of_the_process_are_left_as_they_were(undisturbed: Path) -> None:
    from training.experiment.baton import Lane

    drawn: list[float] = []

    def work(lane: Lane) -> None:
        torch.manual_seed(7)
        for _ in range(3):
            drawn.append(float(torch.rand(1)))
            lane.pause()

    torch.manual_seed(1)
    before, lane = torch.get_rng_state(), Lane("one", work)
    while not lane.over:
        lane.advance()
        assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    assert drawn == [float(torch.rand(1)) for _ in range(3)]


def test_a_base_is_compared_once_untaught(undisturbed: Path) -> None:
    points = Points(undisturbed)
    assert points.at("zero-1", 0) and not points.at("zero-2", 0)
    assert os.path.exists(undisturbed / "comparison.png")


def compared(home: Path) -> int:
    """Comparisons that are on disk."""
    return sum(path.read_text().count("\n") for path in home.glob("experiments/*/metrics.jsonl"))


def adapter(folder: Path) -> str:
    return sha256_of(folder / "adapter_model.safetensors")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in rows_of(folder)]


def table(folder: Path) -> list[list[str]]:
    """results.csv without the times."""
    lines = [line.split(",") for line in (folder / "results.csv").read_text().splitlines()]
    place = lines[0].index("seconds")
    return [line[:place] + line[place + 1 :] for line in lines]
