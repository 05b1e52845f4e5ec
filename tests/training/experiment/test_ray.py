"""`backtalk experiment run --engine ray`: the same experiment as trials of Ray Tune.

Command: make test-ray
Promise: two workers on this machine leave the table and the weights of the engine of one process, bit by bit,
also where one of them is killed; ASHA leaves weak ones behind; a person may stop and clone meanwhile.
"""

import json
import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("ray") is None:
    pytest.skip("Ray is installed for these tests alone: make test-ray", allow_module_level=True)

from backtalk.card import read_card
from backtalk.files import read_json, sha256_of
from bench.grid import table
from tests.training.experiment.grids import CHUNK, STEPS, base, experiment, run, write_grid
from training.experiment.clone import main as clone
from training.experiment.control import history
from training.experiment.engines.task import News
from training.experiment.engines.trials import RayEngine
from training.experiment.stop import main as stop

FOUR = ("c1", "c2", "c3", "c4")
ON_RAY = ("--engine", "ray", "--workers", "2")

pytestmark = pytest.mark.timeout(1800)  # each worker loads torch in a process of its own


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of other numbers of threads differ in their last bits, and here bits are compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("base") / "small")


@pytest.fixture(scope="module")
def grid(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The recipe. It names its data from the working directory, as people do."""
    place = tmp_path_factory.mktemp("grid")
    data = {"sources": [{"path": "rows.jsonl"}], "evaluation": [{"path": "held.jsonl"}]}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield write_grid(place, small, data=data)


@pytest.fixture(scope="module")
def local(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the same experiment by the engine of one process."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("local")
        patch.setenv("BACKTALK_HOME", str(home))
        assert run(grid) == 0
        yield experiment(home)


def test_two_workers_one_of_them_killed_leave_the_table_of_one_process(
    grid: Path,
    local: Path,
    state_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[News] = []
    goes_on = RayEngine.goes_on

    def killing(self: RayEngine, news: News) -> bool:
        if news.name == "c2" and not any(one.name == "c2" for one in told):
            os.kill(news.process, signal.SIGKILL)
        told.append(news)
        return goes_on(self, news)

    monkeypatch.setattr(RayEngine, "goes_on", killing)
    assert run(grid, *ON_RAY) == 0
    assert "c2: its worker ended (ActorDiedError" in capsys.readouterr().err
    folder = experiment(state_folder)
    assert folder.name == local.name  # the engine is no part of what an experiment is
    assert table(folder) == table(local)
    for name in FOUR:
        assert adapter(folder / name) == adapter(local / name)
        assert read_card(folder / name).id == read_card(local / name).id
    assert {one.relative_to(folder) for one in folder.glob("c*")} == {
        one.relative_to(local) for one in local.glob("c*")
    }
    assert curves(folder) == curves(local)
    processes = {name: {one.process for one in told if one.name == name} for name in FOUR}
    assert len(processes["c2"]) == 2 and len(set.union(*processes.values())) >= 2
    assert os.getpid() not in set.union(*processes.values())


def test_weak_ones_are_left_behind_and_people_are_heard(
    small: Path, tmp_path: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, told = RayEngine.goes_on, list[str]()

    def asking(self: RayEngine, news: News) -> bool:
        if news.name == "c1" and "c1" not in told:
            assert clone([self.folder.name, "c1", "--by", "ben", "--set", "optimiser.rate=0.02"]) == 0
            assert stop([self.folder.name, "c4", "--by", "ana"]) == 0
        told.append(news.name)
        return goes_on(self, news)

    monkeypatch.setattr(RayEngine, "goes_on", asking)
    search = {
        "chunk": CHUNK,
        "longest_answer": 4,
        "early_stop": "asha",
        "early_least": CHUNK,
        "early_keep": 2,
    }
    assert run(write_grid(tmp_path, small, experiment=search), "--engine", "ray", "--workers", "1") == 0
    folder = experiment(state_folder)
    lines = {line["name"]: line for line in read_json(folder / "state.json")["lines"]}
    assert (lines["c1"]["standing"], lines["c1"]["step"]) == ("finished", STEPS)  # the first at each rung
    assert (lines["c2"]["standing"], lines["c2"]["step"]) == ("stopped early", CHUNK)  # a tenth of its rate
    assert (lines["c4"]["standing"], lines["c4"]["step"]) == ("stopped", 0)
    assert lines["c5"]["parent"] == "c1" and lines["c5"]["step"] >= CHUNK
    done = {one.request.action: one for one in history(folder)}
    assert (done["clone"].step, done["clone"].made) == (CHUNK, "c5")
    assert "c4" not in told


def adapter(folder: Path) -> str:
    return sha256_of(folder / "adapter_model.safetensors")


def curves(folder: Path) -> dict[tuple[str, int], list[Any]]:
    """What was measured, without the times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {(row["configuration"], row["step"]): [row["bits"], row["loss"]] for row in lines}
