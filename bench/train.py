"""How fast is our SFT on a CPU, and in how much memory, beside TRL's SFTTrainer as it comes?

    python bench/train.py [--quick] [--only mini|1B] [--steps N] [--limit SECONDS] [--explain]

The same base, rows, batch, length, adapter, rate and steps for all, each in a process of its own, one after
the other. TRL runs with its defaults and, on mini, with what a user would change first ("plain": no gradient
checkpointing; bfloat16 by autocast, not at all, or as the weights' type). Tokens are counted without padding.
A contender that takes longer than --limit is stopped; its speed is that of the steps it took, and where it
took none, what it would be if the first one ended then: a ratio to it is told too low.

`--explain` also runs ours with one thing at a time left out. The 1B shape is Llama-3.2-1B's with random
weights (2.5 GB on disk for the time of the run).
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from backtalk.files import read_jsonl, write_jsonl
from bench.contender import BEGAN, LORA, STEPS
from bench.report import Bound, bound, report

HERE = Path(__file__).resolve().parent
MINI = HERE.parent / "models" / "mini"
PATIENCE = 600.0  # seconds until a contender that has not begun is a failure
LOOK = 0.2
WARM = 0.1  # share of the steps that are not counted: the first ones wait for memory and caches
RATE = 1e-3
NO_CHECKPOINTING = {"gradient_checkpointing": False}
PLAIN: dict[str, dict[str, Any]] = {
    "TRL plain, autocast": NO_CHECKPOINTING,
    "TRL plain, float32": {**NO_CHECKPOINTING, "bf16": False},
    "TRL plain, bfloat16 weights": {
        **NO_CHECKPOINTING, "bf16": False, "model_init_kwargs": {"dtype": "bfloat16"},
    },
}  # fmt: skip
DEFAULTS = "TRL defaults"
WITHOUT: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours, no buckets": {"buckets": False},
    "ours, TRL's loss": {"by_places": False},
    "ours, checkpointing": {"gradient_checkpointing": True},
}


@dataclass(frozen=True)
class Task:
    """What all contenders do."""

    name: str
    base: Path
    rows: Path
    batch: int
    length: int
    steps: int


@dataclass(frozen=True)
class Result:
    """What a contender did; `finished` False: it was stopped for taking too long."""

    tokens_per_second: float
    peak_bytes: int
    finished: bool
    folder: Path


def main() -> int:
    args = _words()
    bounds: list[Bound] = []
    with tempfile.TemporaryDirectory(prefix="backtalk-train-") as name:
        place = Path(name)
        if args.only in ("", "mini"):
            bounds += _on_mini(place / "mini", args)
        if args.only in ("", "1B"):
            bounds += _on_1b(place / "1B", args)
    report("train", bounds, quick=args.quick)
    return 0 if all(entry.holds is not False for entry in bounds) or args.quick else 1


def _on_mini(place: Path, args: argparse.Namespace) -> list[Bound]:
    steps = args.steps or (4 if args.quick else 60)
    task = Task("models/mini", MINI, _mini_rows(place, steps * 8), 8, 1024, steps)
    found = _all(task, place, args, {DEFAULTS: {}} if args.quick else {DEFAULTS: {}, **PLAIN})
    best = max((found[name].tokens_per_second for name in PLAIN if name in found), default=0.0)
    ours, defaults = found["ours"].tokens_per_second, found[DEFAULTS].tokens_per_second
    bounds = [
        bound("mini: tokens/s, ours / TRL's defaults", ours / defaults, at_least=2.0),
        bound("mini: tokens/s, ours / TRL's best plain", ours / best if best else None, at_least=1.2,
              why="" if best else "with --quick TRL runs with its defaults alone"),
    ]  # fmt: skip
    return [*bounds, _same_loss(found, place)]


def _on_1b(place: Path, args: argparse.Namespace) -> list[Bound]:
    names = ("1B: tokens/s, ours / TRL's defaults", "1B: peak memory, ours / TRL's defaults")
    limits: tuple[dict[str, float], ...] = ({"at_least": 1.15}, {"at_most": 0.6})
    if args.quick:
        why = "not with --quick"
        return [bound(name, None, why=why, **limit) for name, limit in zip(names, limits, strict=True)]
    from bench.stand_in import make, shape_of

    make(place / "base", shape_of("Llama-3.2-1B"))
    steps = args.steps or 3
    task = Task("Llama-3.2-1B's shape", place / "base", _long_rows(place, steps), 1, 512, steps)
    found = _all(task, place, args, {DEFAULTS: {}})
    ours, theirs = found["ours"], found[DEFAULTS]
    ratios = (ours.tokens_per_second / theirs.tokens_per_second, ours.peak_bytes / theirs.peak_bytes)
    return [bound(name, ratio, **limit) for name, ratio, limit in zip(names, ratios, limits, strict=True)]


# ---- the contenders


def _all(
    task: Task, place: Path, args: argparse.Namespace, theirs: Mapping[str, dict[str, Any]]
) -> dict[str, Result]:
    """Every contender's result, told as a table while they run."""
    ours = WITHOUT if args.explain else {"ours": {}}
    print(f"\n{task.name}: {task.steps} steps of {task.batch} rows\n{'':<30}{'tokens/s':>10}{'peak GiB':>10}")
    found = {}
    for number, (name, changed) in enumerate({**ours, **theirs}.items()):
        folder = place / str(number)
        folder.mkdir(parents=True)
        order = _our_order(task, folder, changed) if name in ours else _their_order(task, changed)
        found[name] = one = _run(folder, order, task, args.limit)
        more = "" if one.finished else f"  stopped after {args.limit:.0f} s"
        print(f"{name:<30}{one.tokens_per_second:>10,.1f}{one.peak_bytes / 2**30:>10.2f}{more}", flush=True)
    return found


def _our_order(task: Task, folder: Path, changed: Mapping[str, Any]) -> dict[str, Any]:
    recipe = {
        "base": {"model": str(task.base)},
        "data": {"sources": [{"path": str(task.rows)}], "filters": {"duplicates": "keep"}},
        "lora": LORA,
        "optimiser": {"rate": RATE},
        "schedule": {"steps": task.steps, "warmup": 0.0},
        "batch": {"size": task.batch, "max_length": task.length, "buckets": changed.get("buckets", True)},
        "gradient_checkpointing": changed.get("gradient_checkpointing", "auto"),
        "checkpoints": {"every": task.steps},
    }
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return {"kind": "ours", "recipe": str(path), "by_places": changed.get("by_places", True)}


def _their_order(task: Task, changed: Mapping[str, Any]) -> dict[str, Any]:
    said = {
        "max_steps": task.steps,
        "per_device_train_batch_size": task.batch,
        "max_length": task.length,
        "learning_rate": RATE,
    }
    return {"kind": "trl", "base": str(task.base), "rows": str(task.rows), "settings": {**said, **changed}}


def _run(folder: Path, order: dict[str, Any], task: Task, limit: float) -> Result:
    words = [sys.executable, "-W", "ignore", str(HERE / "contender.py"), str(folder), json.dumps(order)]
    finished, peak = True, 0
    with open(folder / "log.txt", "w", encoding="utf-8") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            _until_it_began(process, folder)
            code = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            finished, code, peak = False, 0, _peak_of(process.pid)
            process.kill()
            process.wait()
    if code:
        raise SystemExit(f"A contender failed:\n{(folder / 'log.txt').read_text(encoding='utf-8')[-3000:]}")
    rows = list(read_jsonl(folder / STEPS)) if (folder / STEPS).exists() else []
    if not rows:
        return Result(_fastest(task, folder, limit), peak, False, folder)
    counted = rows[math.ceil(WARM * task.steps) :] or rows
    speed = sum(row["tokens"] for row in counted) / sum(row["seconds"] for row in counted)
    return Result(speed, max(peak, *(row["peak_bytes"] for row in rows)), finished, folder)


def _until_it_began(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Libraries and data are loaded when the limit begins to count."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and not (folder / BEGAN).exists():
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise SystemExit(f"A contender did not begin within {PATIENCE:.0f} s: the machine is too busy.")
        time.sleep(LOOK)


def _fastest(task: Task, folder: Path, limit: float) -> float:
    """The speed of a contender that took no step, as if its first step ended when it was stopped."""
    elapsed = time.time() - float((folder / BEGAN).read_text(encoding="utf-8"))
    from training.render import Renderer

    renderer = Renderer(task.base)
    lengths = sorted(len(renderer.row(row).ids) for row in read_jsonl(task.rows))
    return sum(lengths[-task.batch :]) / elapsed


def _peak_of(pid: int) -> int:
    """The most bytes that another process has held at once."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _same_loss(found: Mapping[str, Result], place: Path) -> Bound:
    """The loss of the taught models on rows that nobody trained on, beside the best of TRL's."""
    name = "mini: held-out loss, ours / TRL's"
    theirs = [found[one].folder for one in (*PLAIN, DEFAULTS) if one in found and found[one].finished]
    if not theirs:
        return bound(name, None, at_most=1.02, why="no run of TRL's was finished within --limit")
    rows = list(read_jsonl(place / "held_out.jsonl"))
    losses = [_loss(folder / "adapter", rows) for folder in (found["ours"].folder, *theirs)]
    print(f"held-out loss: ours {losses[0]:.4f}, TRL's {', '.join(f'{loss:.4f}' for loss in losses[1:])}")
    return bound(name, losses[0] / min(losses[1:]), at_most=1.02)


def _loss(adapter: Path, rows: list[dict[str, Any]]) -> float:
    """Nats per learned token, in float32."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from training.loss import summed_loss
    from training.render import Renderer

    base = AutoModelForCausalLM.from_pretrained(MINI, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter).eval().get_base_model()
    renderer, total, learned = Renderer(MINI), 0.0, 0
    with torch.inference_mode():
        for row in map(renderer.row, rows):
            hidden = model.model(input_ids=torch.tensor([row.ids])).last_hidden_state
            total += float(summed_loss(hidden, model.lm_head.weight, torch.tensor([row.labels])))
            learned += row.learned
    return total / learned


# ---- what they learn


def _mini_rows(place: Path, count: int) -> Path:
    """Conversations of the bundled model's corpus, and as many again as 200 that nobody trains on."""
    from training.mini.corpus import dialogues

    place.mkdir(parents=True)
    rows = [
        {"prompt": list(one.messages[:-1]), "completion": [one.messages[-1]]}
        for one in islice(dialogues(11), count + 200)
    ]
    write_jsonl(place / "held_out.jsonl", rows[count:])
    write_jsonl(place / "rows.jsonl", rows[:count])
    return place / "rows.jsonl"


def _long_rows(place: Path, count: int) -> Path:
    """Rows of nearly 512 tokens: three quarters are asked, the rest is answered."""
    from training.render import Renderer

    renderer = Renderer(place / "base")
    texts = [path.read_text(encoding="utf-8") for path in sorted(HERE.parent.glob("docs/*.md"))]
    words, rows = " ".join(texts).split(), []
    for number in range(count):
        row, size = {}, 400
        while not row or len(renderer.row(row).ids) > 508:
            size -= 5
            said = words[number * 400 : number * 400 + size]
            cut = size * 3 // 4
            row = {
                "prompt": [{"role": "user", "content": " ".join(said[:cut])}],
                "completion": [{"role": "assistant", "content": " ".join(said[cut:])}],
            }
        rows.append(row)
    write_jsonl(place / "rows.jsonl", rows)
    return place / "rows.jsonl"


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="a few steps on the bundled model, at most a minute"
    )
    parser.add_argument("--only", choices=("mini", "1B"), default="", help="one of the two models")
    parser.add_argument("--steps", type=int, default=0, help="steps of each contender (60 on mini, 3 on 1B)")
    parser.add_argument("--limit", type=float, default=0.0, help="seconds of each contender (1200)")
    parser.add_argument("--explain", action="store_true", help="also ours with one thing at a time left out")
    args = parser.parse_args()
    args.limit = args.limit or (25.0 if args.quick else 1200.0)
    return args


if __name__ == "__main__":
    sys.exit(main())
