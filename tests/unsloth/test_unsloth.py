"""Training with Unsloth, on its own path for a CPU, beside training with PEFT.

Command: make test-unsloth
Promise: from one recipe and seed both backends are told the same, put the same adapter on the same base and
end at the same loss; a run of Unsloth goes on where it was stopped and can be merged like any other.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from backtalk.card import read_card
from backtalk.files import read_json, sha256_of
from tests.training.teaching import finished, write_recipe

if find_spec("unsloth") is None:
    pytest.skip(
        "Unsloth has an environment of its own, where these tests run: make test-unsloth",
        allow_module_level=True,
    )

from export.merge import merge

ROOT = Path(__file__).resolve().parents[2]
PLACES = {"output_dir", "logging_dir"}

pytestmark = pytest.mark.timeout(600)  # each run loads Unsloth in a process of its own


@dataclass(frozen=True)
class Ended:
    """A run that is finished: its state folder and what it said."""

    home: Path
    said: str

    @property
    def folder(self) -> Path:
        return finished(self.home)

    @property
    def losses(self) -> list[float]:
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    @property
    def last_loss(self) -> float:
        return float(read_card(self.folder).metrics["loss_of_last_tenth"])

    @property
    def adapter(self) -> str:
        return sha256_of(self.folder / "adapter_model.safetensors")

    @property
    def arguments(self) -> dict[str, Any]:
        told = read_json(self.home / "arguments.json")
        return {name: value for name, value in told.items() if name not in PLACES}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty steps on the bundled model, with dropout, so that the random numbers have to agree as well."""
    return write_recipe(
        tmp_path_factory.mktemp("recipe"),
        "mini",
        schedule={"steps": 20},
        batch={"size": 4, "max_length": 128},
        checkpoints={"every": 8},
    )


@pytest.fixture(scope="module")
def with_peft(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    yield run(recipe, tmp_path_factory.mktemp("peft"), "peft")


@pytest.fixture(scope="module")
def with_unsloth(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    yield run(recipe, tmp_path_factory.mktemp("unsloth"), "unsloth", "--its-own-loss")


def test_both_backends_end_at_the_same_loss(with_peft: Ended, with_unsloth: Ended) -> None:
    assert "backend peft: " in with_peft.said and "backend unsloth: " in with_unsloth.said
    assert "Unsloth (CPU): LlamaForCausalLM" in with_unsloth.said
    assert with_unsloth.losses[0] == pytest.approx(with_peft.losses[0], rel=1e-4)
    assert with_peft.last_loss < with_peft.losses[0] / 2
    assert with_unsloth.last_loss == pytest.approx(with_peft.last_loss, rel=0.02)


def test_both_backends_are_told_the_same(with_peft: Ended, with_unsloth: Ended) -> None:
    assert with_peft.arguments["learning_rate"] == "0.01"
    assert with_unsloth.arguments == with_peft.arguments


def test_both_backends_leave_the_same_kind_of_adapter(
    with_peft: Ended, with_unsloth: Ended, tmp_path: Path
) -> None:
    assert described(with_unsloth) == described(with_peft)
    merge(with_unsloth.folder, tmp_path / "merged")
    assert read_card(tmp_path / "merged").metrics["taught"] == 7 * layers()


def test_a_run_that_was_stopped_ends_with_the_weights_of_an_undisturbed_one(
    recipe: Path, with_unsloth: Ended, tmp_path: Path
) -> None:
    call(recipe, tmp_path, "unsloth", "--its-own-loss", "--stop-after", "11", code=130)
    ended = run(recipe, tmp_path, "unsloth", "--its-own-loss")
    assert "going on after 12" in ended.said
    assert ended.adapter == with_unsloth.adapter


def test_with_four_bits_both_backends_end_at_the_same_loss(with_peft: Ended, tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path / "recipe",
        "mini",
        base={"model": "mini", "load_in_4bit": True},
        schedule={"steps": 20},
        batch={"size": 4, "max_length": 128},
    )
    peft, unsloth = (run(recipe, tmp_path / name, name) for name in ("peft", "unsloth"))
    assert "4-bit = True" in unsloth.said
    assert peft.losses[0] != with_peft.losses[0]
    assert unsloth.losses[0] == pytest.approx(peft.losses[0], rel=1e-3)
    assert unsloth.last_loss == pytest.approx(peft.last_loss, rel=0.02)


def test_layers_that_the_base_lacks_are_one_sentence(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "mini", lora={"targets": ["query"]})
    said = call(recipe, tmp_path / "home", "unsloth", code=2)
    assert "lora.targets ['query'] names no layer of mini. Name qv" in said


def run(recipe: Path, home: Path, backend: str, *words: str) -> Ended:
    return Ended(home, call(recipe, home, backend, *words))


def call(recipe: Path, home: Path, backend: str, *words: str, code: int = 0) -> str:
    """What was said by `backtalk train` in a process of its own, which has to end with `code`."""
    done = subprocess.run(
        [sys.executable, "tests/unsloth/watched_run.py", str(recipe), backend, *words],
        cwd=ROOT, env={**os.environ, "BACKTALK_HOME": str(home), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout


def described(ended: Ended) -> dict[str, Any]:
    """PEFT's description of the adapter; its list of targets is a set, written in any order."""
    config: dict[str, Any] = read_json(ended.folder / "adapter_config.json")
    return {**config, "target_modules": sorted(config["target_modules"])}


def layers() -> int:
    return int(read_json(ROOT / "models" / "mini" / "config.json")["num_hidden_layers"])
