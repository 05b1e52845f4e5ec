"""What runs on the rented machine: state from last time, the verbs in their order, state for next time.

    python -m backtalk.deploy.on_job recipes/llama32_round.yaml --state /state --model owner/desk-model

A round recipe runs `backtalk round`, if as many new flags came since the last one as are asked for; any other
recipe is trained, exported and, where a model repository is named, published. Killed by the time limit, it
leaves the last copy of its state, and the next Job goes on from there.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from backtalk.config import read_yaml
from backtalk.deploy.kept import Kept
from backtalk.files import read_json, write_json
from backtalk.home import home
from backtalk.verb import Parser

OF_A_ROUND = frozenset({"gate", "include", "replay", "rules", "train"})  # keys that no training recipe has
COUNTED = "flags-at-last-round.json"
CURATED = re.compile(r"\bcurated/")
GATE_SAID_NO = 3


class Failed(Exception):
    """A verb ended with an exit code that ends the Job too."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


def main(argv: list[str]) -> int:
    """Runs the recipe; returns the exit code of the verb that failed, else 0."""
    parser = Parser(
        prog="python -m backtalk.deploy.on_job",
        purpose="A recipe or a round, on a machine that is lent.",
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--state", type=Path, required=True, help="a mounted bucket")
    parser.add_argument("--model", default="", help="model repository to publish to")
    parser.add_argument("--fewest-new", type=int, default=0, help="new flags below which no round runs")
    args = parser.parse_args(argv)
    kept = Kept(args.state)
    if kept.restore(home()):
        print("Going on with the state of the last Job.", flush=True)
    try:
        with kept.meanwhile(home()):
            _work(args.recipe, args.model, args.fewest_new)
    except Failed as fault:
        return fault.code
    return 0


def is_round(recipe: Path) -> bool:
    """Whether a recipe is that of a round; else it is one of a training."""
    return bool(OF_A_ROUND & read_yaml(recipe).keys())


def _work(recipe: Path, model: str, fewest_new: int) -> None:
    if is_round(recipe):
        _round(recipe, model, fewest_new)
    else:
        _train(recipe, model)


def _round(recipe: Path, model: str, fewest_new: int) -> None:
    """A round, where enough is new. A gate that says no is a result, not a failure of the Job."""
    if fewest_new:
        _run("flags", "sync")
    flags, before = _flags_now(), _flags_before()
    if fewest_new and abs(flags - before) < fewest_new:
        print(f"{flags} flags stand, {before} at the last round; fewer than {fewest_new} are new: no round.")
        return
    code = _run("round", recipe, *(("--hub.model", model) if model else ()), fine=(0, GATE_SAID_NO))[0]
    write_json(home() / COUNTED, {"flags": flags})
    if code:
        print("The gate said no. What it measured is kept in the state of this Job.")


def _train(recipe: Path, model: str) -> None:
    if CURATED.search(recipe.read_text(encoding="utf-8")):
        _run("flags", "sync")
        _run("curate")
    run = _told(_run("train", recipe, "--json"))["id"]
    export = _told(_run("export", run, "--json"))["id"]
    if model:
        _run("publish", export, "--repo", model)


def _flags_now() -> int:
    return int(_told(_run("flags", "list", "--limit", "1", "--json"))["standing"])


def _flags_before() -> int:
    path = home() / COUNTED
    return int(read_json(path)["flags"]) if path.exists() else 0


def _told(done: tuple[int, str]) -> dict[str, Any]:
    """The JSON of a verb's last line."""
    return json.loads(done[1].strip().splitlines()[-1])


def _run(*words: object, fine: tuple[int, ...] = (0,)) -> tuple[int, str]:
    """One verb in a process of its own, its words passed on; (exit code, what it printed)."""
    command = [sys.executable, "-m", "backtalk", *map(str, words)]
    print(f"\n$ backtalk {' '.join(map(str, words))}", flush=True)
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, _passing_on(process):
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            print(line, end="", flush=True)
    if process.returncode not in fine:
        raise Failed(process.returncode)
    return process.returncode, "".join(lines)


@contextmanager
def _passing_on(process: subprocess.Popen[str]) -> Iterator[None]:
    """SIGTERM goes on to the verb, which ends in order; the state is then kept as it is."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        process.send_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main(sys.argv[1:]))
