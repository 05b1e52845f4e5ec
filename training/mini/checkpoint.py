"""Checkpoints of a build: the newest whole one is where a killed build goes on.

`BACKTALK_HOME/mini-build/checkpoint-000250.pt`, written to a temporary name and renamed, so that a name
always holds a whole file. The last two are kept. Each says for which recipe and corpus it was made; for
others it is no use.
"""

import re
from pathlib import Path
from typing import Any

import torch

from backtalk.files import writing
from training.mini.trainer import Trainer

KEPT = 2
NAME = re.compile(r"checkpoint-(\d{6,})\.pt")


def save(trainer: Trainer, folder: Path, fingerprint: str) -> Path:
    """Writes a checkpoint and deletes those that it makes superfluous."""
    path = folder / f"checkpoint-{trainer.steps:06}.pt"
    with writing(path) as file:
        torch.save({"fingerprint": fingerprint, **trainer.state()}, file)
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink()
    return path


def restore(trainer: Trainer, folder: Path, fingerprint: str) -> bool:
    """Brings `trainer` to the newest checkpoint with this fingerprint; False where there is none."""
    for path in reversed(checkpoints(folder)):
        state: dict[str, Any] = torch.load(path, weights_only=True)
        if state.pop("fingerprint") == fingerprint:
            trainer.restore(state)
            return True
    return False


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    found = [path for path in folder.glob("checkpoint-*.pt") if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(NAME.fullmatch(path.name)[1]))  # type: ignore[index]
