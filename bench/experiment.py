"""Many configurations on one base in memory: how soon compared, how long in all, and is each as if alone?

    python bench/experiment.py [--quick] [--only mini|gpt2|kills|nulls] [--kills 10] [--steps 4]

mini    the SAMSum grid (8 configurations, 32 steps) as one experiment beside eight `backtalk train`, each a
        process that begins anew, and `backtalk evaluate` of each on the same rows, since runs alone are not
        compared. Bounds: the first comparison of all eight, total time, peak memory, and the table of losses.
gpt2    a random GPT-2 of the real shape, in one process: eight runs one after the other beside time slices.
kills   SIGKILL at random moments, one of them while a clone is made: the same table at the end.
nulls   2,000 experiments without a difference, made of the real one's numbers by permuting the names of the
        configurations within each cluster: how often the report claims a difference; and 5 real ones whose
        configurations differ only in the seed.
"""

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from backtalk.files import read_json, sha256_of
from bench import grid
from bench.report import Bound, bound, report
from bench.watched import stolen_seconds

PARTS = ("mini", "gpt2", "kills", "nulls")
NULLS, SEEDED = 2000, 5
RESAMPLES = 999
WEIGHTS = "adapter_model.safetensors"


def main() -> int:
    args = _words()
    bounds: list[Bound] = []
    with tempfile.TemporaryDirectory(prefix="backtalk-experiment-") as name:
        place = Path(name)
        chosen = (args.only,) if args.only else ("nulls",) if args.quick else PARTS
        for part in chosen:
            (place / part).mkdir()
            bounds += {"mini": on_mini, "gpt2": on_gpt2, "kills": on_kills, "nulls": on_nulls}[part](
                place / part, args
            )
    report("experiment", bounds, quick=args.quick)
    return 0 if args.quick or all(entry.holds is not False for entry in bounds) else 1


# ---- one experiment beside eight runs


def on_mini(place: Path, args: argparse.Namespace) -> list[Bound]:
    """Must show 1 and 2 on the bundled model.

    The experiment runs before, amid and after those alone, and its medians count: a shared machine is not as
    fast all the time.
    """
    rows = grid.write_rows(place)
    recipe = grid.write_grid(place, rows, "mini")
    together = [_together(place / "before", recipe)]
    experiment = grid.experiment_of(place / "before")
    names, alone, compared, differing = grid.names_of(experiment), 0.0, 0.0, 0
    print(f"\n{'':<5}{'together':>12}{'alone':>12}  adapter")
    for number, name in enumerate(names):
        if number == len(names) // 2:
            together.append(_together(place / "amid", recipe))
        home = place / name
        ran = grid.measured(_train(experiment, name, place), home)
        assert ran.code == 0, ran.out[-2000:]
        alone += ran.seconds
        words = ["evaluate", str(grid.run_of(home)), "--data", str(rows["dev"]), "--max-tokens", "1"]
        prompt = read_json(experiment / name / "recipe.json")["data"]["sources"][0]["prompt"]
        asked = grid.measured([*words, "--prompt", prompt, "--metric", "bits_per_byte"], home)
        assert asked.code == 0, asked.out[-2000:]
        compared += asked.seconds
        ours, theirs = experiment / name, grid.run_of(home)
        same = _adapter(ours) == _adapter(theirs)
        differing += not same or grid.losses(ours) != grid.losses(theirs)
        losses = f"{grid.losses(ours)[-1]:>12.6f}{grid.losses(theirs)[-1]:>12.6f}"
        print(f"{name:<5}{losses}  {'the same, bit by bit' if same else 'another'}", flush=True)
    together.append(_together(place / "after", recipe))
    total, first = (statistics.median(times) for times in zip(*together, strict=True))
    most, of_one = _peaks(place, recipe, experiment)
    print(
        f"\ntogether: first comparison {first:.1f} s, total {total:.1f} s with comparisons after 4, 8, 16 "
        f"and 32 steps, answers and report; {most / 2**20:,.0f} MiB\n"
        f"alone: trained {alone:.1f} s, evaluated {compared:.1f} s, {of_one / 2**20:,.0f} MiB"
    )
    return [
        bound("first comparison of all eight: alone / together", (alone + compared) / first, at_least=10),
        bound("total time: together / eight trainings alone", total / alone, at_most=0.7),
        bound("peak memory: together / one alone", most / of_one, at_most=1.5),
        bound("configurations that differ from their separate run", differing, at_most=0),
    ]


def _together(home: Path, recipe: Path) -> tuple[float, float]:
    """Seconds of the experiment as a process, and until all eight had been compared once."""
    began, seen, stolen = time.monotonic(), [], stolen_seconds()

    def look() -> None:
        if not seen and any(
            path.is_file() and read_json(path)["first_comparison"]
            for path in home.glob("experiments/*/state.json")
        ):
            seen.append(time.monotonic() - began)

    ended = grid.measured(["experiment", "run", str(recipe), "--offline"], home, look)
    assert ended.code == 0, ended.out[-3000:]
    share = (stolen_seconds() - stolen) / ended.seconds / (os.cpu_count() or 1)
    print(f"together: {seen[0]:.1f} s, {ended.seconds:.1f} s; {share:.0%} stolen by the host", flush=True)
    return ended.seconds, seen[0]


def _train(experiment: Path, name: str, place: Path) -> list[str]:
    return ["train", str(grid.separate_recipe(experiment, name, place)), "--offline"]


def _peaks(place: Path, recipe: Path, experiment: Path) -> tuple[int, int]:
    """Bytes of all configurations together and of the largest one alone, both once more: to look at memory
    takes time from what is looked at.
    """
    together = grid.measured(["experiment", "run", str(recipe), "--offline"], place / "seen", watch=True)
    sizes = {name: (experiment / name / WEIGHTS).stat().st_size for name in grid.names_of(experiment)}
    largest = max(sizes, key=lambda name: sizes[name])
    alone = grid.measured(_train(experiment, largest, place), place / f"{largest}-seen", watch=True)
    assert together.code == alone.code == 0, together.out[-2000:] + alone.out[-2000:]
    return together.peak_bytes, alone.peak_bytes


def _adapter(folder: Path) -> str:
    return sha256_of(folder / WEIGHTS)


# ---- time slices, without the start of processes


def on_gpt2(place: Path, args: argparse.Namespace) -> list[Bound]:
    """A random GPT-2 of 124 million numbers: eight runs beside eight in time slices, in this process."""
    os.environ["BACKTALK_HOME"] = str(place / "home")
    rows = grid.write_rows(place)
    grid.make_gpt2(place / "base")
    path = grid.write_grid(place, rows, str(place / "base"), chunk=max(1, args.steps // 2), baselines=False)
    given = yaml.safe_load(path.read_text())
    given["schedule"]["steps"], given["checkpoints"]["every"] = args.steps, args.steps
    path.write_text(yaml.safe_dump(given))
    sliced, alone = _in_slices(path, place)
    print(f"\nGPT-2's shape, 8 x {args.steps} steps: alone {alone:.1f} s, in slices {sliced:.1f} s")
    fused = "the fused step is not built"
    return [
        bound("GPT-2's shape, no process start: slices / alone", sliced / alone, at_most=1.05),
        bound("1B shape on a GPU, fused: together / alone", None, at_most=0.5, why=fused),
    ]


def _in_slices(path: Path, place: Path) -> tuple[float, float]:
    from dataclasses import replace

    from backtalk.progress import Progress
    from training import run
    from training.experiment.engine import Engine
    from training.experiment.expand import expand
    from training.experiment.prepare import Preparation
    from training.experiment.recipe import read_experiment
    from training.watch import Stop

    asked, progress = read_experiment(path), Progress()
    preparation = Preparation(asked, True, progress)
    prepared = [preparation.add(one) for one in expand(asked)]
    split = preparation.split(42)
    run.train(replace(prepared[0].ready, place=place / "warm"), False, progress, lambda _: None)
    began = time.monotonic()
    for one in prepared:
        run.train(replace(one.ready, place=place / "alone" / one.name), False, progress, lambda _: None)
    alone = time.monotonic() - began
    engine = Engine(asked, place / "sliced", preparation, progress, Stop())
    for one in prepared:
        engine.enter(preparation.housed(one, place / "sliced"))
    engine.recall(split)
    compared: list[float] = []
    measure = engine.judge.measure

    def timed(*words: Any) -> None:
        at = time.monotonic()
        measure(*words)
        compared.append(time.monotonic() - at)

    engine.judge.measure = timed  # type: ignore[method-assign]  (runs alone are not compared: that time is not counted)
    began = time.monotonic()
    engine.run()
    return time.monotonic() - began - sum(compared), alone


# ---- kills


def on_kills(place: Path, args: argparse.Namespace) -> list[Bound]:
    """SIGKILL at random moments, the first one while a clone is made: early, so that much is left to kill."""
    chance, rows = random.Random(3), grid.write_rows(place)
    recipe = grid.write_grid(place, rows, "mini")
    words = ["experiment", "run", str(recipe), "--offline"]
    whole = _with_clone(place / "undisturbed", words, kill=False)
    wanted, kills = grid.table(grid.experiment_of(place / "undisturbed")), 0
    home = place / "killed"
    _with_clone(home, words, kill=True)
    kills += 1
    while kills < args.kills:
        with open(home / "log.txt", "a") as log:
            process = grid.start(words, home, log)
            _wait_for_news(home, process)
            time.sleep(chance.uniform(0, whole / 4 / args.kills))
            ended = process.poll() is not None
            process.send_signal(signal.SIGKILL)
            process.wait()
        if ended:
            break
        kills += 1
        print(f"{kills} kills", flush=True)
    ended = grid.measured(words, home)
    assert ended.code == 0, ended.out[-2000:]
    same = grid.table(grid.experiment_of(home)) == wanted
    steps = {_steps_of_clone(place / name) for name in ("undisturbed", "killed")}
    assert len(steps) == 1, f"the clones began after {steps} steps: nothing can be compared"
    return [
        bound("kills, one of them during a clone", kills, at_least=args.kills),
        bound("tables that differ after them", int(not same), at_most=0),
    ]


def _steps_of_clone(home: Path) -> int:
    """That c1 had taken when it was cloned."""
    from training.experiment.control import history

    (line,) = history(grid.experiment_of(home))
    return line.warm


def _wait_for_news(home: Path, process: Any) -> None:
    """Until the process has taken a chunk."""
    state = grid.experiment_of(home) / "state.json"
    before = state.stat().st_mtime_ns if state.is_file() else 0
    while process.poll() is None and not (state.is_file() and state.stat().st_mtime_ns > before):
        time.sleep(0.02)


def _with_clone(home: Path, words: list[str], kill: bool) -> float:
    """An experiment in which c1 is cloned after its first chunk; with `kill`, killed while that is done."""
    home.mkdir()
    began, asked = time.monotonic(), False
    with open(home / "log.txt", "w") as log:
        process = grid.start(words, home, log)
        while process.poll() is None:
            state = next(home.glob("experiments/*/state.json"), None)
            if not asked and state and _has_begun(read_json(state), "c1"):
                asked = _ask_for_clone(state.parent)
            if kill and any(home.glob("experiments/*/*c9.start*")):
                process.send_signal(signal.SIGKILL)
            time.sleep(0.001 if asked else 0.05)
    wanted = -signal.SIGKILL if kill else 0
    assert process.returncode == wanted, (home / "log.txt").read_text()[-2000:]
    return time.monotonic() - began


def _has_begun(state: dict[str, Any], name: str) -> bool:
    return any(line["name"] == name and line["step"] for line in state["lines"])


def _ask_for_clone(experiment: Path) -> bool:
    """On with c1's weights, which it keeps until all others have taken their first chunk: the same clone
    whenever it is made.
    """
    from training.experiment.control import Request, ask

    ask(experiment, Request("clone", "c1", {"schedule.steps": 40}, warm=True), "bench")
    return True


# ---- nulls


def on_nulls(place: Path, args: argparse.Namespace) -> list[Bound]:
    """How often a difference is claimed where there is none."""
    import numpy as np

    from training.experiment.decide import decide

    dev, test = _real(place) if not args.quick else _made_up()
    draw, claimed, won = np.random.default_rng(5), 0, 0
    count = 200 if args.quick else NULLS
    for _ in range(count):
        found = decide(_outcomes(_permuted(dev, draw), _permuted(test, draw)), RESAMPLES)
        claimed, won = claimed + found.claims, won + found.wins
    print(f"{count:,} experiments without a difference: {claimed} claims of any, {won} of a winner")
    bounds = [
        bound("nulls in which a winner is claimed, %", 100 * won / count, at_most=6),
        bound("nulls in which any difference is claimed, %", 100 * claimed / count, at_most=6),
    ]
    if args.quick:
        return bounds
    rows = grid.write_rows(place / "seeds")
    for number in range(SEEDED):
        path = grid.write_grid(place / "seeds", rows, "mini", chunk=16)
        given = yaml.safe_load(path.read_text())
        given |= {
            "seed": [100 * number + one for one in range(4)],
            "lora": {"r": 8},
            "optimiser": {"rate": 5e-4},
        }
        for source in (*given["data"]["sources"], *given["data"]["evaluation"], *given["experiment"]["test"]):
            source["prompt"] = "summary"
        path.write_text(yaml.safe_dump(given))
        ended = grid.measured(["experiment", "run", str(path), "--offline"], place / f"seeds-{number}")
        assert ended.code == 0, ended.out[-2000:]
        print(f"seeds {number + 1}: {_conclusion(place / f'seeds-{number}')}", flush=True)
    return bounds


def _real(place: Path) -> tuple[Any, Any]:
    """Bits of the development and test rows of a real experiment: (items, configurations) each."""
    import json

    import numpy as np

    (place / "seeds").mkdir()
    recipe = grid.write_grid(place, grid.write_rows(place), "mini", chunk=16)
    ended = grid.measured(["experiment", "run", str(recipe), "--offline"], place / "home")
    assert ended.code == 0, ended.out[-2000:]
    folder = grid.experiment_of(place / "home")
    points = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    last = {row["configuration"]: row["bits"] for row in points if row["step"]}
    tests = []
    for name in last:
        kept = [json.loads(line) for line in (folder / "test" / f"{name}.jsonl").read_text().splitlines()]
        tests.append([value for _, _, what, value in kept if what == "bits"])
    return np.array(list(last.values())).T, np.array(tests).T


def _made_up() -> tuple[Any, Any]:
    import numpy as np

    draw = np.random.default_rng(1)
    return tuple(draw.gamma(3, 20, (64, 1)) + draw.normal(0, 4, (64, 8)) for _ in range(2))  # type: ignore[return-value]


def _permuted(bits: Any, draw: Any) -> Any:
    """Each row's numbers given to the configurations anew: then none is better than another."""
    return draw.permuted(bits, axis=1)


def _outcomes(dev: Any, test: Any) -> list[Any]:
    from training.evaluation.items import PRIMARY, Item
    from training.evaluation.scores import Scored
    from training.experiment.decide import Outcome

    items = [
        Item(str(n), PRIMARY, "", (), "x" * 60, (), (), False, f"item:{n}", False) for n in range(len(test))
    ]
    return [
        Outcome(f"c{place}", {}, float(dev[:, place].mean()),
                [Scored(item, None, bits) for item, bits in zip(items, test[:, place], strict=True)], 1, 0.0)
        for place in range(test.shape[1])
    ]  # fmt: skip


def _conclusion(home: Path) -> str:
    return str(read_json(grid.experiment_of(home) / "card.json")["metrics"]["conclusion"])


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="200 nulls of made-up numbers")
    parser.add_argument("--only", choices=PARTS, default="", help="one of the parts")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=4, help="steps of each configuration on GPT-2's shape")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
