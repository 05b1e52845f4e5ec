"""`kill -9` at any moment of a training: it goes on and ends with the weights of an undisturbed one.

Command: python -m pytest tests/training/test_killed.py
Promise: bit by bit, for one method and for a chain of all three. One process loads the libraries for all of
it; each run is a fork of it. `bench/resume.py` does the same at random moments of a longer run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.teaching import small_base, write_recipe
from tests.training.voting import write_chain

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(600)  # eleven runs, before the first test


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of each recipe; most kills hit the later methods of the chain, which have more steps."""
    place = tmp_path_factory.mktemp("killed")
    base = small_base(place / "base")
    chain = write_chain(place / "chain", base, "sft", "kto", "dpo", schedule={"steps": 2})
    done = subprocess.run(
        [sys.executable, "tests/training/killed_run.py", "3", write_recipe(place / "sft", base), "2", chain],
        cwd=ROOT, env={**os.environ, "BACKTALK_HOME": str(place / "homes"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(zip(("sft", "chain"), json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_killed_anywhere_a_run_ends_with_the_same_weights(killed: dict[str, dict[str, Any]]) -> None:
    told = killed["sft"]
    assert told["died"] == 3 and told["while_writing"] >= 2
    assert set(told["found"]) == {told["wanted"]}


def test_killed_anywhere_a_chain_ends_with_the_same_weights(killed: dict[str, dict[str, Any]]) -> None:
    told = killed["chain"]
    assert told["died"] == 2
    assert set(told["found"]) == {told["wanted"]}
