"""A device group: what one worker of `--engine ray` does, here without Ray.

Command: python -m pytest tests/training/experiment/test_group.py
Promise: a configuration that two groups trained in turn has the weights and the curve of the engine of one
process, bit by bit; its test rows are answered; a group that does not see the experiment's folder says so.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from backtalk.errors import BacktalkError
from backtalk.files import read_json, sha256_of, write_json
from backtalk.progress import Progress
from tests.training.experiment.grids import CHUNK, STEPS, base, experiment, run, write_grid
from training.experiment.engines.group import Group
from training.experiment.engines.task import Job, News, Task
from training.experiment.expand import expand
from training.experiment.points import Points
from training.experiment.prepare import Preparation
from training.experiment.recipe import read_experiment

ONE = {"experiment": {"chunk": CHUNK, "longest_answer": 4}, "lora": {"r": 2}, "optimiser": {"rate": 0.01}}


def test_a_configuration_that_changes_groups_ends_as_in_one_process(
    tmp_path: Path, state_folder: Path
) -> None:
    recipe = write_grid(tmp_path, base(tmp_path / "small"), **ONE)
    assert run(recipe) == 0
    local, folder = experiment(state_folder), tmp_path / "elsewhere"
    asked = read_experiment(recipe)
    preparation = Preparation(asked, True, Progress())
    (configuration,) = expand(asked)
    first = preparation.housed(preparation.add(configuration), folder)
    write_json(folder / "recipe.json", read_json(local / "recipe.json"))
    job = Job(asked, True, folder, preparation.split(first.recipe.seed))
    untaught = advanced(Group(job), Task(configuration, untaught="zero-1"))
    assert untaught.standing == "baseline" and untaught.points[0].bits == Points(local).of("zero-1")[0].bits
    begun = Group(job)
    news = [advanced(begun, Task(configuration))]
    begun.leave()
    written_down = Points(folder)
    for point in news[0].points:
        written_down.add(point)
    other = Group(job)
    news.append(advanced(other, Task(configuration)))
    while news[-1].standing != "finished":
        news.append(other.advance())
    assert [point.step for one in news for point in one.points] == list(range(CHUNK, STEPS + 1, CHUNK))
    curve = [replace(point, at="", seconds=0) for one in news for point in one.points]
    assert [one.bits for one in curve] == [one.bits for one in Points(local).of("c1")]
    assert sha256_of(folder / "c1" / "adapter_model.safetensors") == sha256_of(
        local / "c1" / "adapter_model.safetensors"
    )
    for name in ("c1", "zero-1"):
        kept = Path("test") / f"{name}.jsonl"
        assert (folder / kept).read_bytes() == (local / kept).read_bytes()


def test_a_group_without_the_folder_says_what_to_do(tmp_path: Path) -> None:
    asked = read_experiment(write_grid(tmp_path, tmp_path / "small"))
    with pytest.raises(BacktalkError, match="set BACKTALK_HOME to a folder that all of them share"):
        Group(Job(asked, True, tmp_path / "nowhere", None))  # type: ignore[arg-type]


def advanced(group: Group, task: Task) -> News:
    """What the first chunk of a task brings."""
    group.begin(task)
    return group.advance()
