"""kill -9 in the midst of a training: does the next start end with the same weights?

    python bench/resume.py [--quick] [--kills 10] [--steps 200] [--seed 1]

The bundled model is taught for 200 steps with dropout and a checkpoint every ten, once undisturbed. Then the
same run, in another state folder, is killed (SIGKILL) at random moments, ten times in all, and started again
each time: every other moment is one in which a checkpoint is being written, the rest are anywhere in its
course. At its end its adapter has to be that of the undisturbed run, byte by byte; where it ends before it
was killed often enough, it begins once more in a folder of its own.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from backtalk.files import sha256_of, write_jsonl
from bench.report import bound, report
from training.mini.corpus import dialogues
from training.train import main as train

EVERY = 10
LONGEST_WAIT = 0.02  # seconds within the writing of a checkpoint
LOOK = 0.0005


@dataclass
class Tally:
    """What happened in all kills together."""

    kills: int = 0
    while_writing: int = 0


def main() -> int:
    args = _words()
    chance, tally = random.Random(args.seed), Tally()
    with tempfile.TemporaryDirectory(prefix="backtalk-resume-") as name:
        place = Path(name)
        recipe = _recipe(place, args.steps)
        began = time.monotonic()
        assert _ended_well(_start(place / "undisturbed", recipe)), _told(place / "undisturbed")
        whole = time.monotonic() - began
        wanted, found, home = _adapter(place / "undisturbed"), [], place / "0"
        while tally.kills < args.kills:
            goes_on = _kill(home, recipe, chance, whole / args.kills, tally)
            print(f"{tally.kills:>3} kills, {tally.while_writing} while a checkpoint was written", flush=True)
            if not goes_on:
                found.append(_adapter(home))
                home = place / str(len(found))
        if home.exists():
            assert _ended_well(_start(home, recipe)), _told(home)
            found.append(_adapter(home))
    print(f"\nan undisturbed run of {args.steps} steps took {whole:.1f} s\n")
    bounds = [
        bound("runs killed", tally.kills, at_least=args.kills),
        bound("of these while a checkpoint was written", tally.while_writing, at_least=1),
        bound("adapters with other bytes than undisturbed", sum(one != wanted for one in found), at_most=0),
    ]
    report("resume", bounds, steps=args.steps, runs=len(found), seconds=round(whole, 1))
    return 0 if all(entry.holds for entry in bounds) else 1


def _kill(home: Path, recipe: Path, chance: random.Random, course: float, tally: Tally) -> bool:
    """Starts the run and kills it; False where it was finished before."""
    child, while_writing = _start(home, recipe), tally.kills % 2 == 0
    wait = chance.uniform(0, LONGEST_WAIT) if while_writing else chance.uniform(0, 2 * course)
    before = _written(home)
    for reached in (lambda: _written(home) != before, lambda: not while_writing or _is_writing(home)):
        while not reached():
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                assert status == 0, _told(home)
                return False
            time.sleep(LOOK)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    tally.kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    tally.while_writing += _is_writing(home)
    return not any(home.glob("runs/*/card.json"))


def _is_writing(home: Path) -> bool:
    return any(home.glob("runs/*.parts/.checkpoint-*.part"))


def _written(home: Path) -> int:
    """Bytes of metrics: they grow with every step."""
    return sum(path.stat().st_size for path in home.glob("runs/*/metrics.jsonl"))


def _start(home: Path, recipe: Path) -> int:
    """The verb in a child of this process, which has loaded the libraries once for all; its pid."""
    if child := os.fork():
        return child
    code = 1
    try:
        os.environ["BACKTALK_HOME"] = str(home)
        with open(_log(home), "w") as log, redirect_stdout(log), redirect_stderr(log):
            try:
                code = train([str(recipe), "--offline"])
            except Exception:
                traceback.print_exc()
    finally:
        os._exit(code)


def _log(home: Path) -> Path:
    return home.with_suffix(".log")


def _told(home: Path) -> str:
    """The last that a run said, for the case that it failed by itself."""
    return f"A run failed:\n{_log(home).read_text()[-3000:]}"


def _ended_well(child: int) -> bool:
    status = os.waitpid(child, 0)[1]
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def _adapter(home: Path) -> str:
    (card,) = home.glob("runs/*/card.json")
    return sha256_of(card.with_name("adapter_model.safetensors"))


def _recipe(place: Path, steps: int) -> Path:
    rows = [{"messages": list(one.messages)} for one in islice(dialogues(3), 300)]
    write_jsonl(place / "rows.jsonl", rows)
    recipe = {
        "base": {"model": "mini"},
        "data": {"sources": [{"path": str(place / "rows.jsonl")}]},
        "lora": {"r": 8, "dropout": 0.1},
        "optimiser": {"rate": 1e-3},
        "schedule": {"steps": steps},
        "batch": {"size": 4, "max_length": 512},
        "checkpoints": {"every": EVERY},
    }
    path = place / "resumed.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two kills in twenty steps")
    parser.add_argument("--kills", type=int, default=0, help="how many (default: 10)")
    parser.add_argument("--steps", type=int, default=0, help="of the run (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default: 1)")
    args = parser.parse_args()
    args.kills, args.steps = (
        args.kills or (2 if args.quick else 10),
        args.steps or (20 if args.quick else 200),
    )
    return args


if __name__ == "__main__":
    import matplotlib.figure  # noqa: F401

    import training.run
    import training.sft  # noqa: F401

    sys.exit(main())
