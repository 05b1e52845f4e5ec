"""Votes and pairs for small runs of KTO and DPO, beside the conversations of tests/training/teaching.py."""

from pathlib import Path
from typing import Any

from tests.training.teaching import GREETINGS, write_recipe, write_rows

VOTES = [
    {
        **row,
        "completion": [{"role": "assistant", "content": text.format(number)}],
        "label": good,
    }
    for number, row in enumerate(GREETINGS, start=1)
    for text, good in (("Yes, size {0} is on the shelf.", True), ("Size {0}? Ask somebody else.", False))
]
PAIRS = [
    {"prompt": good["prompt"], "chosen": good["completion"], "rejected": bad["completion"]}
    for good, bad in zip(VOTES[::2], VOTES[1::2], strict=True)
]
STEP = {"steps": 5, "rate": 0.01, "size": 4}


def write_chain(folder: Path, base: Path | str, *methods: str, **changed: Any) -> Path:
    """A recipe that learns the conversations, votes and pairs by `methods`; `changed` replaces sections."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("rows", GREETINGS), ("votes", VOTES), ("pairs", PAIRS)):
        if not (folder / f"{name}.jsonl").exists():
            write_rows(folder / f"{name}.jsonl", rows)
    given = {
        "method": list(methods),
        "data": {"sources": [str(folder / f"{name}.jsonl") for name in ("rows", "votes", "pairs")]},
        "schedule": {"steps": 4},
        "kto": STEP,
        "dpo": {**STEP, "fewest": 10},
        "checkpoints": {"every": 2},
        **changed,
    }
    return write_recipe(folder, base, **given)
