"""Line 5: the gate. Candidates that are no better than what is served are hardly ever promoted, worse never.

Three kinds: what a real round answered and what was served before, swapped at random group by group (2,000
times, so that neither is better); ten trained on the same rows with another seed, against the served one that
the first seed made; ten taught questions with answers to other questions.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

from backtalk.files import read_json, read_jsonl, write_jsonl, write_text
from bench.loop_parts.setting import Part, Setting, honest_flags
from bench.report import bound
from bench.story import RECIPE, Story
from training.evaluation.intervals import paired
from training.gate import PROMOTE, SHOWN, Condition, Evidence, decide
from training.mini.corpus import dialogues

SWAPS, QUICK_SWAPS = 2000, 100
CANDIDATES, QUICK_CANDIDATES = 10, 1
SHARE, MOST_NO_OPS = 0.035, 1
NOISE_ROWS, NOISE_EPOCHS = 600, 8  # about as many steps as a round
PASSED = Condition("quantized file", SHOWN, "the same file.")
NOT_SHOWN = "nothing shown"

Pair = tuple[str, float, float]  # cluster, before, after


def run(setting: Setting) -> Part:
    first = setting.story(f"gate/seed-{setting.seeds[0]}")
    honest_flags(setting, first, setting.seeds[0])
    said = first.round("1", setting.recipe("gate"))
    if not said["promoted"]:
        words = [
            "promote",
            str(first.candidate(said)),
            "--force",
            "--why",
            "to be the served one here",
            "--json",
        ]
        first.piece("promote", lambda: first.verb("promote", words))
    count = QUICK_SWAPS if setting.quick else SWAPS
    swapped = first.piece(f"swapped-{count}", lambda: _swapped(_rows(first, said), count))
    number = QUICK_CANDIDATES if setting.quick else CANDIDATES
    no_ops = [
        _candidate(setting, first, f"no-op-{seed}", _other_seed(seed)) for seed in range(101, 101 + number)
    ]
    noise = [_candidate(setting, first, f"noise-{seed}", _noise(setting, seed)) for seed in range(number)]
    share = swapped / count
    bounds = [
        bound("swapped candidates promoted, share", share, at_most=SHARE),
        bound("no-op candidates promoted", no_ops.count(PROMOTE), at_most=MOST_NO_OPS),
        bound("damaged candidates promoted", noise.count(PROMOTE), at_most=0),
    ]
    table = (
        f"{swapped} of {count:,} swapped promoted\nno-ops: {', '.join(no_ops)}\ndamaged: {', '.join(noise)}"
    )
    return Part(bounds, table, {"swaps": count, "no_ops": no_ops, "damaged": noise})


def _candidate(setting: Setting, first: Story, name: str, train: dict[str, Any]) -> str:
    """The verdict on one trained candidate; its folder goes when it is known."""
    file = setting.work / "gate" / f"{name}.json"
    if not file.exists():
        story = first.copy(setting.work / "gate" / name)
        recipe = setting.recipe(f"gate-{name}", train=train)
        verdict = story.round("2", recipe)["verdict"]
        story.piece("verdict", lambda: verdict)
        shutil.copyfile(story.folder / "verdict.json", file)
        shutil.rmtree(story.folder)
    return str(read_json(file))


def _other_seed(seed: int) -> dict[str, Any]:
    return {"knobs": {"seed": seed}}


def _noise(setting: Setting, seed: int) -> dict[str, Any]:
    """A training recipe whose rows answer other questions than were asked."""
    chosen = [one.messages for one in islice(dialogues(900 + seed), NOISE_ROWS)]
    answers = [messages[-1] for messages in chosen]
    Random(seed).shuffle(answers)
    rows = setting.work / "gate" / f"noise-{seed}.jsonl"
    write_jsonl(
        rows,
        ({"prompt": list(m[:-1]), "completion": [a]} for m, a in zip(chosen, answers, strict=True)),
    )
    recipe = yaml.safe_load(RECIPE.with_name("mini_feedback.yaml").read_text(encoding="utf-8"))
    recipe["data"]["sources"] = [{"path": str(rows)}]
    recipe["schedule"]["epochs"] = NOISE_EPOCHS
    path = setting.work / "gate" / f"noise-{seed}.yaml"
    write_text(path, yaml.safe_dump(recipe, sort_keys=False))
    return {"recipe": str(path)}


def _rows(story: Story, said: dict[str, Any]) -> list[dict[str, Any]]:
    """What the gate saw of a real round: each item as both models answered it."""
    name = read_json(Path(said["folder"]) / "card.json")["metrics"]["evaluation"]
    return list(read_jsonl(story.home / "evaluations" / name / "items.jsonl"))


def _swapped(rows: Sequence[dict[str, Any]], count: int) -> int:
    """How many are promoted of candidates whose answers in each group are the one model's or the other's."""
    random = np.random.default_rng(1)
    parts = {name: list(_pairs(rows, name)) for name in ("primary", "task", "general")}
    clusters = sorted({cluster for pairs in parts.values() for cluster, _, _ in pairs})
    promoted = 0
    for _ in range(count):
        swapped = dict(zip(clusters, random.random(len(clusters)) < 0.5, strict=True))
        promoted += _word(parts, swapped) == PROMOTE
    return promoted


def _pairs(rows: Sequence[dict[str, Any]], part: str) -> Iterator[Pair]:
    """Each item of a part: whether it is right, before and after; of general text its bits."""
    metric = "bits" if part == "general" else "right"
    for row in rows:
        before, after = row["baseline"].get(metric), row["model"].get(metric)
        if row["part"] == part and before is not None and after is not None:
            yield row["cluster"], float(before), float(after)


def _word(parts: Mapping[str, Sequence[Pair]], swapped: Mapping[str, bool]) -> str:
    """The gate's word; the other conditions are computed only where the first one is shown to hold."""
    found = {}
    for name, pairs in parts.items():
        clusters = [cluster for cluster, _, _ in pairs]
        old = [after if swapped[cluster] else before for cluster, before, after in pairs]
        new = [before if swapped[cluster] else after for cluster, before, after in pairs]
        gains = [now - then for then, now in zip(old, new, strict=True)]
        found[name] = paired(clusters, gains, old if name == "general" else None)
        if name == "primary" and found[name].low <= 0:
            return NOT_SHOWN
    metric = "share right"
    return decide(
        Evidence(found["primary"], metric, found["task"], None, found["general"], quantized=PASSED)
    ).word
