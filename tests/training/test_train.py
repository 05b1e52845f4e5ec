"""`backtalk train`: a run that can be interrupted anywhere, and says calmly what stops it.

Command: python -m pytest tests/training/test_train.py
Promise: a run that was stopped or damaged goes on and ends with the weights of an undisturbed one, bit by
bit (so does one that was killed: test_killed.py); two runs of one recipe are the same; its card is enough to
merge it; each fault is one sentence.
"""

import errno
import io
import json
import os
import signal
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from backtalk.card import read_card
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import sha256_of
from export.merge import merge
from tests.training.teaching import GREETINGS, finished, small_base, train, write_recipe, write_rows
from training.backends.with_peft import load
from training.metrics import read_metrics
from training.run import Metrics


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_base(tmp_path_factory.mktemp("base") / "small")


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The place of a run of `write_recipe` that nothing happened to: rows.jsonl, home, what it told."""
    place = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out:
        patch.setenv("BACKTALK_HOME", str(place / "home"))
        assert train(write_recipe(place, base), "--json") == 0
    (place / "told.json").write_text(out.getvalue().splitlines()[-1])
    return place


@pytest.fixture(scope="module")
def undisturbed(whole: Path) -> str:
    """The sha256 of its adapter."""
    return adapter(whole / "home")


def test_the_same_recipe_gives_the_same_weights(
    base: Path, undisturbed: str, tmp_path: Path, state_folder: Path
) -> None:
    recipe = write_recipe(tmp_path, base)
    assert train(recipe) == 0
    assert adapter(state_folder) == undisturbed
    assert train(write_recipe(tmp_path, base, seed=7)) == 0
    assert len(list(state_folder.glob("runs/*/card.json"))) == 2


def test_the_card_tells_all_and_the_adapter_can_be_merged(whole: Path, tmp_path: Path) -> None:
    run, told = finished(whole / "home"), json.loads((whole / "told.json").read_text())
    card = read_card(run)
    assert (card.kind, card.id, told["id"]) == ("run", run.name, run.name)
    assert card.recipe["lora"]["r"] == 4 and card.recipe["optimiser"]["beta2"] == 0.999
    assert {entry["role"] for entry in card.inputs if entry.get("role")} >= {"base"}
    assert any(entry.get("sha256") == sha256_of(whole / "rows.jsonl") for entry in card.inputs)
    assert {"loss.png", "metrics.jsonl", "adapter_model.safetensors"} <= {one["path"] for one in card.outputs}
    steps = read_metrics(run)
    assert [row["step"] for row in steps] == list(range(1, 9))
    assert card.metrics["tokens"] == sum(row["tokens"] for row in steps)
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert not list(run.parent.glob("*.parts"))
    merge(run, tmp_path / "merged")
    assert read_card(tmp_path / "merged").metrics["taught"] == 14  # seven matrices in each of two layers


def test_layers_that_the_recipe_does_not_name_are_not_taught(
    base: Path, tmp_path: Path, state_folder: Path
) -> None:
    named = {"targets": "all-linear", "layers": [1]}
    assert train(write_recipe(tmp_path, base, lora={"r": 4, **named}, schedule={"steps": 2})) == 0
    weights = load_file(finished(state_folder) / "adapter_model.safetensors")
    assert {int(name.split(".layers.")[1].split(".")[0]) for name in weights} == {1}
    merge(finished(state_folder), tmp_path / "merged")
    assert read_card(tmp_path / "merged").metrics["taught"] == 7


def test_stopped_by_ctrl_c_it_saves_and_goes_on(
    base: Path,
    undisturbed: str,
    tmp_path: Path,
    state_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = write_recipe(tmp_path, base)
    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "add", interrupting(Metrics.add, at=4))
        assert train(recipe) == 130
    shown = capsys.readouterr()
    assert f"Go on with: backtalk train {recipe}" in shown.out
    assert "step 5 of 8" in shown.err
    assert train(recipe) == 0
    assert "going on after 5" in capsys.readouterr().err
    assert adapter(state_folder) == undisturbed
    assert [row["step"] for row in read_metrics(finished(state_folder))] == list(range(1, 9))


def test_a_damaged_checkpoint_is_not_gone_on_from(
    base: Path, undisturbed: str, tmp_path: Path, state_folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recipe = write_recipe(tmp_path, base)
    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "add", interrupting(Metrics.add, at=4))
        train(recipe)
    (damaged,) = state_folder.glob("runs/*.parts/checkpoint-000005/optimizer.pt")
    damaged.write_bytes(damaged.read_bytes()[:1000])
    capsys.readouterr()
    assert train(recipe) == 0
    told = capsys.readouterr().err
    assert "checkpoint-000005 is not whole (optimizer.pt is damaged)" in told
    assert "going on after 3" in told
    assert adapter(state_folder) == undisturbed


def test_a_finished_run_is_not_trained_again_but_with_fresh(
    base: Path, tmp_path: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path, base, schedule={"steps": 2})
    assert train(recipe) == 0
    loads: list[Any] = []
    monkeypatch.setattr(
        "training.backends.with_peft.load", lambda *given: loads.append(given) or load(*given)
    )
    assert train(recipe) == 0 and not loads
    assert train(recipe, "--fresh") == 0 and len(loads) == 1


def test_gradient_checkpointing_and_accumulation_change_no_result(base: Path, tmp_path: Path) -> None:
    plain = {"lora": {"r": 4}, "batch": {"size": 4, "max_length": 128}, "schedule": {"steps": 3}}
    split = {**plain, "batch": {"size": 2, "accumulation": 2, "max_length": 128, "buckets": False}}
    losses = {
        name: losses_of(tmp_path / name, base, recipe)
        for name, recipe in {
            "plain": {**plain, "batch": {**plain["batch"], "buckets": False}},
            "twice": {**plain, "batch": {**plain["batch"], "buckets": False}, "gradient_checkpointing": True},
            "split": split,
        }.items()
    }
    assert losses["twice"] == pytest.approx(losses["plain"], rel=1e-5)
    assert losses["split"] == pytest.approx(losses["plain"], rel=1e-4)


def test_a_loss_that_is_no_number_stops_the_run(base: Path, tmp_path: Path, state_folder: Path) -> None:
    with pytest.raises(BacktalkError, match=r"^The loss of step \d is not a number any more\.[^\n]*$"):
        train(write_recipe(tmp_path, base, optimiser={"rate": 1e30, "clip": 0.0}))
    assert not list(state_folder.glob("runs/*/card.json"))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), r"gradient_checkpointing: true and batch: \{size: 1"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Most help: "),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
    ],
)
def test_a_machine_that_is_too_small_is_told_in_one_sentence(
    base: Path,
    tmp_path: Path,
    state_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    told: str,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr("training.sft.Trainer._save_optimizer_and_scheduler", fail)
    with pytest.raises(BacktalkError, match=told) as raised:
        train(write_recipe(tmp_path, base))
    assert "\n" not in str(raised.value)
    assert not list(state_folder.glob("runs/*/card.json"))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"base": {"model": "nowhere/at/all"}}, "no such folder"),
        ({"base": {"model": "models/mini/mini-Q8_0.gguf"}}, "a file to serve"),
        ({"base": {"model": "docs"}}, "lacks config.json"),
        ({"backend": "unsloth"}, "Unsloth is not installed"),
        ({"precision": "float16"}, "needs CUDA"),
        ({"base": {"model": "mini", "load_in_4bit": True}}, "bitsandbytes"),
        ({"lora": {"targets": ["nothing"]}}, "names no layer"),
        ({"lora": {"layers": [4, 6]}}, "mini has 6 layers: numbers from 0 to 5 were wanted"),
        ({"batch": {"max_length": 12}}, "12"),
    ],
)
def test_a_recipe_that_cannot_work_is_told_in_one_sentence(
    tmp_path: Path, state_folder: Path, changed: dict[str, Any], told: str
) -> None:
    recipe = write_recipe(tmp_path, "mini", **changed)
    with pytest.raises((BacktalkError, WordsError), match="^[^\n]*$") as fault:
        train(recipe)
    assert told in str(fault.value)
    assert not list(state_folder.glob("runs/*/card.json"))


def test_an_empty_dataset_and_one_without_answers_are_told(tmp_path: Path, base: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [])
    with pytest.raises(BacktalkError, match="^[^\n]*$"):
        train(write_recipe(tmp_path, base))
    write_rows(tmp_path / "rows.jsonl", [*GREETINGS, {"messages": [{"role": "user", "content": "hello"}]}])
    with pytest.raises(BacktalkError, match="14"):
        train(write_recipe(tmp_path, base))


def adapter(home: Path) -> str:
    return sha256_of(finished(home) / "adapter_model.safetensors")


def losses_of(place: Path, base: Path, changed: dict[str, Any]) -> list[float]:
    os.environ["BACKTALK_HOME"] = str(place / "home")  # put back with the fixture's own value
    assert train(write_recipe(place, base, **changed)) == 0
    return [row["loss"] for row in read_metrics(finished(place / "home"))]


def interrupting(add: Any, at: int) -> Any:
    """`Metrics.add` as it is, and a Ctrl-C when it is told of step `at`."""

    def added(self: Metrics, row: dict[str, Any]) -> None:
        add(self, row)
        if row["step"] == at:
            signal.raise_signal(signal.SIGINT)

    return added
