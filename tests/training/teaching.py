"""Small runs for tests: a base of two layers, a few conversations, a recipe, the verb in this process."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM

from tests.export.taught import MINI, TOKENIZER
from training.train import main

GREETINGS = [
    {
        "prompt": [{"role": "user", "content": f"do you sell tents in size {number}?"}],
        "completion": [{"role": "assistant", "content": f"Yes, size {number} costs {number * 7} euros."}],
    }
    for number in range(1, 14)
]


def small_base(folder: Path, **changed: Any) -> Path:
    """A random base of two layers with the bundled model's tokenizer and template."""
    config = AutoConfig.from_pretrained(MINI)
    shape = {"num_hidden_layers": 2, "hidden_size": 64, "head_dim": 16, "intermediate_size": 128}
    config.update({**shape, **changed})
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, changed.get("dtype", "float32")))
    model.save_pretrained(folder)
    for name in TOKENIZER:
        (folder / name).write_bytes((MINI / name).read_bytes())
    return folder


def write_rows(path: Path, rows: Iterable[Any] = GREETINGS) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_recipe(folder: Path, model: Path | str, **changed: Any) -> Path:
    """A recipe of eight steps with dropout and a checkpoint every third; `changed` replaces sections."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / "rows.jsonl"
    if not rows.exists():
        write_rows(rows)
    recipe = {
        "base": {"model": str(model)},
        "data": {"sources": [{"path": str(rows)}]},
        "lora": {"r": 4, "dropout": 0.1},
        "optimiser": {"rate": 0.01},
        "schedule": {"steps": 8},
        "batch": {"size": 2, "max_length": 128},
        "checkpoints": {"every": 3},
        **changed,
    }
    path = folder / "taught.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def train(recipe: Path, *flags: str) -> int:
    return main([str(recipe), *flags])


def finished(home: Path) -> Path:
    """The folder of the one finished run."""
    (card,) = home.glob("runs/*/card.json")
    return card.parent
