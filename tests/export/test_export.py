"""The verb `backtalk export`: the whole chain on small models, found again, interrupted, refused.

Command: .venv/bin/python -m pytest -q tests/export/test_export.py
Promise: one command ends with verified files and their card; after any interruption the same command ends
with the same bytes; what fails a bound is told by name and is not passed.
"""

import fcntl
import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backtalk.errors import BacktalkError, WordsError
from backtalk.files import sha256_of
from export import chain
from export.chain import main
from export.exported import read_export
from export.source import find_source
from export.verify import HELD_OUT
from tests.export.small_models import small_folder
from tests.export.taught import mini_folder, save_run, taught

FEW = 4  # texts, where it does not matter on how many the files are compared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_folder(tmp_path / "small")


@pytest.fixture
def few_texts(tmp_path: Path) -> list[str]:
    """The words that name a few of the held-out texts."""
    lines = HELD_OUT.read_text().splitlines(keepends=True)[:FEW]
    (tmp_path / "few.jsonl").write_text("".join(lines))
    return ["--texts", str(tmp_path / "few.jsonl")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The state folder of one export of two types to which nothing happened, and what it said."""
    place = tmp_path_factory.mktemp("undisturbed")
    folder = small_folder(place / "small")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        patch.setenv("BACKTALK_HOME", str(place / "home"))
        assert main([str(folder), "--quants", "F16,Q8_0", "--json"]) == 0
    return place / "home", said.getvalue().splitlines()


def exported(home: Path) -> Path:
    return next((home / "exports").iterdir())


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in folder.glob("*.gguf")}


def test_one_command_ends_with_verified_files_a_picture_and_a_card(
    undisturbed: tuple[Path, list[str]],
) -> None:
    home, lines = undisturbed
    assert any(line.startswith("Q8_0") and line.endswith("passed") for line in lines)
    result = read_export(Path(json.loads(lines[-1])["path"]))
    assert [file.failed for file in result.files] == [[], []]
    assert result.folder == exported(home)  # and nothing beside it
    assert (result.folder / "quality_vs_size.png").is_file()
    row = result.card.metrics["Q8_0"]
    assert row["tokens_equal"] and row["templates_equal"] == 30
    assert row["tokens_per_second"] > 0 and row["peak_bytes"] > 0
    assert row["divergence"] > result.card.metrics["F16"]["divergence"]
    assert {entry["role"] for entry in result.card.inputs} == {"model", "held-out text"}


def test_the_same_export_is_found_again(
    folder: Path, few_texts: list[str], state_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main([str(folder), "--quants", "Q8_0", *few_texts]) == 0
    before = hashes(exported(state_folder))
    monkeypatch.setattr(chain, "convert", never)
    moved = tmp_path / "elsewhere" / "small"
    shutil.copytree(folder, moved)
    assert main([str(moved), "--quants", "q8_0", *few_texts]) == 0
    assert hashes(exported(state_folder)) == before


def test_an_adapter_is_merged_first_and_what_is_kept_lies_beside(
    few_texts: list[str], tmp_path: Path, state_folder: Path
) -> None:
    base = mini_folder(tmp_path / "base")
    run = save_run(taught(base), base, state_folder / "runs" / "7f3a" / "adapter")
    assert main(["7f3a", "--quants", "Q8_0", "--keep", *few_texts]) == 0
    finished = next(path for path in (state_folder / "exports").iterdir() if path.suffix != ".parts")
    parts = finished.with_name(f"{finished.name}.parts")
    assert (parts / "merged" / "model.safetensors").is_file()
    assert (parts / "taught-F16.gguf").is_file()
    card = read_export(finished).card
    assert {entry["role"] for entry in card.inputs} == {"base", "adapter", "held-out text"}
    assert str(run) in {entry.get("folder") for entry in card.inputs}
    assert sha256_of(base / "model.safetensors") != sha256_of(parts / "merged" / "model.safetensors")


def test_a_broken_conversion_passes_in_no_type(
    folder: Path, few_texts: list[str], state_folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The rows of q in a wrong order cost less than what 4 bits may cost: the F16 beside it tells."""
    convert = chain.convert

    def permuted(model: Path, *words: Any) -> Path:
        broken = shutil.copytree(model, model.with_name("broken"))
        weights = load_file(broken / "model.safetensors")
        name = "model.layers.0.self_attn.q_proj.weight"
        weights[name] = np.ascontiguousarray(
            weights[name].reshape(4, 2, 4, 32).swapaxes(1, 2).reshape(32, 32)
        )
        save_file(weights, broken / "model.safetensors")
        return convert(broken, *words)

    monkeypatch.setattr(chain, "convert", permuted)
    assert main([str(folder), "--quants", "Q4_0", *few_texts]) == 1
    assert "FAILED: conversion: divergence" in capsys.readouterr().out
    file = read_export(exported(state_folder)).files[0]
    assert file.failed[0] == "conversion: divergence"


def test_an_export_that_stops_at_any_step_ends_with_the_same_bytes(
    folder: Path, few_texts: list[str], undisturbed: tuple[Path, list[str]],
    state_folder: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    words = [str(folder), "--quants", "Q8_0", *few_texts]
    for step in ("convert", "quantize", "verify_all", "measure", "write_card"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(chain, step, interrupted)
            main(words)
        assert not list((state_folder / "exports").glob("*/card.json"))
    assert main(words) == 0
    (name,) = found = hashes(exported(state_folder))
    assert found[name] == hashes(exported(undisturbed[0]))[name]


def test_too_little_disk_is_said_before_the_work_starts(
    folder: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**6}))
    monkeypatch.setattr(chain, "convert", never)
    with pytest.raises(BacktalkError, match="Make room"):
        main([str(folder), "--quants", "Q8_0"])
    assert not list(state_folder.rglob("*.gguf"))


def test_two_processes_never_make_the_same_export(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "convert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main([str(folder), "--quants", "Q8_0"])
    parts = next((chain.home() / "exports").glob("*.parts"))
    with open(parts / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BacktalkError, match="Another process"):
            main([str(folder), "--quants", "Q8_0"])


def test_other_inputs_are_another_export(folder: Path) -> None:
    source = find_source(str(folder))
    one = chain.export_id(source, {"quants": ["Q8_0"]}, [])
    assert one == chain.export_id(find_source(str(folder)), {"quants": ["Q8_0"]}, [])
    assert one != chain.export_id(source, {"quants": ["Q4_0"]}, [])
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] += 1
    save_file(weights, folder / "model.safetensors")
    assert one != chain.export_id(find_source(str(folder)), {"quants": ["Q8_0"]}, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "There is no folder or run nowhere"),
        (["{folder}", "--quants", "Q9_K"], "Did you mean"),
        (["{folder}", "--texts", "none.jsonl"], "There is no file none.jsonl"),
        (["{empty}"], "holds no adapter_config.json and no config.json"),
    ],
)
def test_wrong_words_are_one_sentence(words: list[str], said: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    places = {"folder": folder, "empty": tmp_path / "empty"}
    with pytest.raises(WordsError, match=said):
        main([word.format(**places) for word in words])


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


never: Callable[..., None] = interrupted
