"""What bench/experiment.py compares: the SAMSum grid on the bundled model, together and as eight runs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from backtalk.files import read_json, write_jsonl
from bench.watched import proportional_bytes

ROOT = Path(__file__).resolve().parents[1]
SEEDS = ROOT / "recipes" / "experiments" / "samsum_gpt2_prompt_rank_lr.yaml"
MINI = ROOT / "models" / "mini"
PROMPTS = ["summary_bare", "summary"]
TRAIN, DEV, TEST = 128, 50, 50
LOOK = 0.05  # seconds between two looks at a file
LOOK_AT_MEMORY = 0.2  # seconds; each look walks through the pages of all processes


@dataclass(frozen=True)
class Ended:
    """A process: seconds from start to end, the most bytes seen in it and those below it (0: nobody looked),
    its exit code.
    """

    seconds: float
    peak_bytes: int
    code: int
    out: str


def write_rows(place: Path) -> dict[str, Path]:
    """Chats with summaries, different on each side, in SAMSum's columns."""
    from training.mini.summaries import summary
    from training.mini.voice import Voice

    found: dict[str, list[dict[str, str]]] = {}
    voice, seen = Voice(Random(7)), set()
    for name, count in (("train", TRAIN), ("dev", DEV), ("test", TEST)):
        rows = found[name] = []
        while len(rows) < count:
            text, answer = summary(voice)
            if answer not in seen:
                seen.add(answer)
                rows.append({"dialogue": text.partition(":")[2].strip(), "summary": answer})
    paths = {name: place / f"{name}.jsonl" for name in found}
    for name, rows in found.items():
        write_jsonl(paths[name], rows)
    return paths


def write_grid(place: Path, rows: dict[str, Path], base: str, **changed: Any) -> Path:
    """The seeds' recipe with our rows and that base; `changed` replaces keys of its section `experiment`."""
    recipe = yaml.safe_load(SEEDS.read_text(encoding="utf-8"))
    recipe["base"] = {"model": base}

    def source(name: str) -> dict[str, Any]:
        return {"path": str(rows[name]), "prompt": PROMPTS, "columns": {"completion": "summary"}}

    recipe["data"] = {
        "sources": [source("train")],
        "evaluation": [source("dev")],
        "filters": {"longest": 512, "duplicates": "keep"},
        "faulty": "leave_out",
        "drop_leaks": True,
    }
    search = {
        "test": [source("test")],
        "dev_items": DEV,
        "test_items": TEST,
        "longest_answer": 24,
        "growing": True,
    }
    recipe["experiment"] = {**recipe["experiment"], **search, **changed}
    path = place / "grid.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def make_gpt2(folder: Path) -> None:
    """GPT-2's shape, 124 million numbers, with random weights, and the bundled model's tokenizer."""
    import shutil

    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    config = read_json(MINI / "config.json")
    ends = {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"]}
    GPT2LMHeadModel(GPT2Config(**ends)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(MINI / name, folder / name)


def measured(
    words: Sequence[str],
    home: Path,
    meanwhile: Callable[[], None] = lambda: None,
    log: str = "log.txt",
    watch: bool = False,
) -> Ended:
    """A verb as a process of its own; `meanwhile` is called while it runs. `log`: what it says, in `home`.

    `watch`: whether its memory is looked at, which takes a third of a core from what is measured.
    """
    home.mkdir(parents=True, exist_ok=True)
    began, most, looked = time.monotonic(), 0, 0.0
    with open(home / log, "w+", encoding="utf-8") as said:
        process = start(words, home, said)
        while (code := process.poll()) is None:
            if watch and time.monotonic() - looked > LOOK_AT_MEMORY:
                most, looked = max(most, proportional_bytes(process.pid)), time.monotonic()
            meanwhile()
            time.sleep(LOOK)
        seconds = time.monotonic() - began
        said.seek(0)
        return Ended(seconds, most, code, said.read())


def start(words: Sequence[str], home: Path, log: Any) -> subprocess.Popen[bytes]:
    """The verb, begun."""
    surroundings = {**os.environ, "BACKTALK_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-m", "backtalk", *words], cwd=ROOT, env=surroundings, stdout=log, stderr=log
    )


def experiment_of(home: Path) -> Path:
    """The folder of the one experiment there."""
    (recipe,) = home.glob("experiments/*/recipe.json")
    return recipe.parent


def run_of(home: Path) -> Path:
    """The folder of the one finished run there."""
    (card,) = home.glob("runs/*/card.json")
    return card.parent


def names_of(experiment: Path) -> list[str]:
    """Its configurations."""
    return [line["name"] for line in read_json(experiment / "state.json")["lines"] if line["steps"]]


def separate_recipe(experiment: Path, name: str, place: Path) -> Path:
    """The recipe of one configuration, as `backtalk train` takes it."""
    path = place / f"{name}.yaml"
    path.write_text(yaml.safe_dump(read_json(experiment / name / "recipe.json")), encoding="utf-8")
    return path


def losses(run: Path) -> list[float]:
    """Of each step."""
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def table(experiment: Path) -> list[list[str]]:
    """results.csv without the times."""
    lines = [line.split(",") for line in (experiment / "results.csv").read_text().splitlines()]
    place = lines[0].index("seconds")
    return [line[:place] + line[place + 1 :] for line in lines]
