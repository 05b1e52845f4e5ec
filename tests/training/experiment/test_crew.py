"""Small bases are taught by several processes at once.

Command: python -m pytest tests/training/experiment/test_crew.py
Promise: two processes leave the table, the curves and the weights of one, bit by bit; also where one of them
is killed, where somebody interrupts, and where the experiment's own process is killed: then they end with it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backtalk.files import sha256_of
from bench.grid import table
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
from training.experiment import crew
from training.experiment.control import history
from training.experiment.engine import Engine
from training.experiment.engines.task import News
from training.experiment.points import Points

ROOT = Path(__file__).resolve().parents[3]
FOUR = ("c1", "c2", "c3", "c4")
ON_TWO_CORES = """
import sys
from backtalk import cli
from training.experiment import crew
crew.usable_cores = lambda: 2
sys.exit(cli.main(sys.argv[1:]))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks a process that computes")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("base") / "small")


@pytest.fixture(scope="module")
def alone(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the experiment by one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crew, "usable_cores", lambda: 1)
        place = tmp_path_factory.mktemp("alone")
        patch.setenv("BACKTALK_HOME", str(place / "home"))
        assert run(write_grid(place, small)) == 0
        yield experiment(place / "home")


@pytest.fixture(autouse=True)
def two_cores(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "usable_cores", lambda: 2)


@pytest.fixture
def news(monkeypatch: pytest.MonkeyPatch) -> list[News]:
    """What the processes told."""
    told: list[News] = []
    hear = Engine.hear

    def hearing(self: Engine, found: News) -> None:
        told.append(found)
        hear(self, found)

    monkeypatch.setattr(Engine, "hear", hearing)
    return told


def test_two_processes_leave_what_one_leaves_and_all_advance_together(
    alone: Path, small: Path, tmp_path: Path, state_folder: Path, news: list[News]
) -> None:
    assert run(write_grid(tmp_path, small)) == 0
    assert_same(experiment(state_folder), alone)
    processes = {name: {one.process for one in news if one.name == name} for name in FOUR}
    assert all(len(found) == 1 for found in processes.values())  # each stays where its trainer is
    assert len(set.union(*processes.values())) == 2 and os.getpid() not in set.union(*processes.values())
    kept = Path("test") / "c3.jsonl"
    assert (experiment(state_folder) / kept).read_bytes() == (alone / kept).read_bytes()
    reached = dict.fromkeys(FOUR, 0)
    for one in news:
        reached[one.name] = one.points[-1].step
        assert max(reached.values()) - min(reached.values()) <= 2 * CHUNK


def test_a_process_that_is_killed_costs_its_chunk_and_nothing_else(
    alone: Path,
    small: Path,
    tmp_path: Path,
    state_folder: Path,
    news: list[News],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin, killed = crew.Helper.begin, list[str]()

    def killing(self: crew.Helper, name: str) -> None:
        begin(self, name)
        if name == "c2" and not killed and any(one.name == "c2" for one in news):
            killed.append(name)
            self._process.kill()

    with monkeypatch.context() as patch:
        patch.setattr(crew.Helper, "begin", killing)
        assert run(write_grid(tmp_path, small)) == 0
    assert "c2: its process ended (exit code -9); it goes on" in capsys.readouterr().err
    assert_same(experiment(state_folder), alone)


def test_a_configuration_whose_process_always_dies_fails_alone(
    small: Path, tmp_path: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = crew.Helper.begin

    def killing(self: crew.Helper, name: str) -> None:
        begin(self, name)
        if name == "c2":
            self._process.kill()

    monkeypatch.setattr(crew.Helper, "begin", killing)
    assert run(write_grid(tmp_path, small)) == 0
    rows = table(experiment(state_folder))
    assert sum("failed" in ",".join(row) for row in rows) == 1
    assert all((experiment(state_folder) / name / "card.json").exists() for name in ("c1", "c3", "c4"))


def test_interrupted_it_ends_after_the_step_and_goes_on_to_the_same_table(
    alone: Path, small: Path, tmp_path: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_grid(tmp_path, small)
    with monkeypatch.context() as patch:
        people_interrupt(patch)
        assert [run(recipe), run(recipe)] == [130, 130]
    assert run(recipe) == 0
    assert_same(experiment(state_folder), alone)


def test_stop_resume_and_a_warm_clone_are_heard(
    alone: Path, small: Path, tmp_path: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people_ask(monkeypatch)
    assert run(write_grid(tmp_path, small)) == 0
    folder = experiment(state_folder)
    assert [one.request.action for one in history(folder) if not one.refused] == ["stop", "clone", "resume"]
    for name in ("c1", "c2"):
        assert adapter(folder / name) == adapter(alone / name)
    assert adapter(folder / "c5") != adapter(folder / "c1") and Points(folder).at("c5", STEPS)


def test_killed_its_processes_end_with_it_and_it_goes_on_to_the_same_table(
    alone: Path, small: Path, tmp_path: Path, state_folder: Path
) -> None:
    recipe = write_grid(tmp_path, small)
    words = [sys.executable, "-c", ON_TWO_CORES, "experiment", "run", str(recipe)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, cwd=ROOT, **quiet) as process:
        while process.poll() is None and _compared(state_folder) < 3:
            time.sleep(0.01)
        beside = _children(process.pid)
        process.kill()
    assert process.returncode == -signal.SIGKILL and len(beside) == 2
    until = time.monotonic() + 30
    while any(_is_there(one) for one in beside):
        assert time.monotonic() < until, "a process outlives its experiment"
        time.sleep(0.01)
    assert run(recipe) == 0
    assert_same(experiment(state_folder), alone)


def _compared(home: Path) -> int:
    return sum(path.read_text().count("\n") for path in home.glob("experiments/*/metrics.jsonl"))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_same(folder: Path, alone: Path) -> None:
    assert table(folder) == table(alone)
    ours, theirs = Points(folder), Points(alone)
    for name in FOUR:
        assert adapter(folder / name) == adapter(alone / name)
        assert [one.bits for one in ours.of(name)] == [one.bits for one in theirs.of(name)]


def adapter(folder: Path) -> str:
    return sha256_of(folder / "adapter_model.safetensors")
