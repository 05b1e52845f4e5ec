"""What people do with an experiment: they plant a leak, step in from another terminal, rerun a study.

    python bench/experiment_life.py [--quick] [--only leak|control|seeds] [--keep FOLDER]

leak      ten evaluation rows among those to learn from: it has to stop, and to name the ten pairs.
control   stop, resume and a warm clone, each asked by `backtalk experiment` as a process of its own while the
          grid of bench/experiment.py runs; the report has to tell who did what at which step.
seeds     the four recipes of recipes/experiments, shortened, offline, on the bundled model: each has to leave
          report, table and picture. --keep leaves the folders, so that the pictures can be looked at.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from backtalk.files import read_json, write_jsonl
from bench import grid
from bench.report import Bound, bound, report

PLANTED = 10
SCALES = {
    "samsum_gpt2_prompt_rank_lr": 0.25,
    "bitext_gpt2_rank_lr_targets": 0.25,
    "finetome_llama32_steps_lr_rank": 0.02,
    "llama32_lr_rank": 0.06,
}
LEFT = ("EXPERIMENT_REPORT.md", "results.csv", "metrics.jsonl", "comparison.png", "card.json")
PNG = b"\x89PNG"
SECONDS = 120  # for something that was asked to be done


def main() -> int:
    args = _words()
    bounds: list[Bound] = []
    with tempfile.TemporaryDirectory(prefix="backtalk-life-") as name:
        place = (args.keep or Path(name)).resolve()
        for part in (args.only,) if args.only else ("leak",) if args.quick else tuple(PARTS):
            (place / part).mkdir(parents=True)
            bounds += PARTS[part](place / part)
    report("experiment_life", bounds, quick=args.quick)
    return 0 if args.quick or all(entry.holds is not False for entry in bounds) else 1


def on_leak(place: Path) -> list[Bound]:
    """Rows whose questions share no words, so that only what was planted is alike."""
    chance = Random(11)
    train, held = (write_rows(chance, count) for count in (60, 60))
    paths = {name: place / f"{name}.jsonl" for name in ("train", "held")}
    write_jsonl(paths["train"], [*train, *held[:PLANTED]])
    write_jsonl(paths["held"], held)
    recipe = {
        "base": {"model": "mini"},
        "data": {"sources": [{"path": str(paths["train"])}], "evaluation": [{"path": str(paths["held"])}]},
        "lora": {"r": [4, 8]},
        "schedule": {"steps": 2},
    }
    (place / "leak.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    ended = grid.measured(["experiment", "run", str(place / "leak.yaml"), "--offline"], place / "home")
    print(ended.out[-1600:])
    named = ended.out.count("  exact: ")
    begun = len(list((place / "home").glob("experiments/*")))
    return [
        bound("leak: exit code of the experiment (1: it did not run)", ended.code, at_least=1),
        bound("leak: planted pairs that are named", named, at_least=PLANTED),
        bound("leak: experiments begun in spite of it", begun, at_most=0),
    ]


def write_rows(chance: Random, count: int) -> list[dict[str, Any]]:
    """Questions of made-up words, each with an answer of its own."""

    def words(number: int) -> str:
        return " ".join("".join(chance.choices("abcdefghijklmnoprstuvw", k=7)) for _ in range(number))

    return [
        {
            "prompt": [{"role": "user", "content": f"{words(8)}?"}],
            "completion": [{"role": "assistant", "content": f"{words(4)}."}],
        }
        for _ in range(count)
    ]


def on_control(place: Path) -> list[Bound]:
    """Each step waits until the one before is told as done."""
    home = place / "home"
    home.mkdir()
    recipe = grid.write_grid(place, grid.write_rows(place), "mini", growing=False)
    with open(home / "log.txt", "w", encoding="utf-8") as log:
        process = grid.start(["experiment", "run", str(recipe), "--offline"], home, log)
        _until(lambda: any(line["step"] for line in _lines(home)), process)
        name = grid.experiment_of(home).name
        asked = (
            ["stop", name, "c2", "--by", "ana"],
            ["clone", name, "c1", "--warm", "--set", "optimiser.rate=1e-4", "--by", "ben"],
            ["resume", name, "c2", "--by", "ana"],
        )
        for count, words in enumerate(asked, start=1):
            ended = grid.measured(["experiment", *words], home, log=f"{words[0]}.txt")
            assert ended.code == 0, ended.out[-2000:]
            _until(lambda count=count: _done(home) >= count, process)  # type: ignore[misc]
        code = process.wait()
    assert code == 0, (home / "log.txt").read_text(encoding="utf-8")[-2000:]
    text = (grid.experiment_of(home) / "EXPERIMENT_REPORT.md").read_text(encoding="utf-8")
    told = [line for line in text.partition("## Who changed what")[2].splitlines() if line.startswith("| 2")]
    print("\n".join(told))
    finished = sum(line["standing"] == "finished" for line in _lines(home))
    return [
        bound("control: requests that the report tells", len(told), at_least=len(asked)),
        bound("control: configurations finished, the clone among them", finished, at_least=9),
    ]


def on_seeds(place: Path) -> list[Bound]:
    """The four recipes on the bundled model and our own samples of their data."""
    left = 0
    for name, scale in SCALES.items():
        recipe = grid.SEEDS.with_name(f"{name}.yaml")
        words = ["experiment", "run", str(recipe), "--offline", "--base", "mini", "--scale", str(scale)]
        ended = grid.measured(words, place / name)
        assert ended.code == 0, ended.out[-2000:]
        folder = grid.experiment_of(place / name)
        whole = all((folder / one).is_file() for one in LEFT)
        left += whole and (folder / "comparison.png").read_bytes().startswith(PNG)
        print(
            f"{folder}: {ended.seconds:.0f} s; {read_json(folder / 'card.json')['metrics']['conclusion']}",
            flush=True,
        )
    return [bound("seeds: recipes that leave report, table and picture", left, at_least=len(SCALES))]


PARTS: dict[str, Callable[[Path], list[Bound]]] = {
    "leak": on_leak,
    "control": on_control,
    "seeds": on_seeds,
}


def _lines(home: Path) -> list[dict[str, Any]]:
    state = next(home.glob("experiments/*/state.json"), None)
    return list(read_json(state)["lines"]) if state else []


def _done(home: Path) -> int:
    """Requests that were done, whatever came of them."""
    path = grid.experiment_of(home) / "history.jsonl"
    return path.read_text(encoding="utf-8").count("\n") if path.is_file() else 0


def _until(holds: Callable[[], bool], process: Any) -> None:
    """Waits, as long as the experiment runs."""
    most = time.monotonic() + SECONDS
    while not holds():
        assert process.poll() is None and time.monotonic() < most, "what was asked was not done"
        time.sleep(grid.LOOK)


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the planted leak alone")
    parser.add_argument("--only", choices=tuple(PARTS), default="", help="one of the parts")
    parser.add_argument(
        "--keep", type=Path, default=None, metavar="FOLDER", help="a new folder for all that is left"
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
