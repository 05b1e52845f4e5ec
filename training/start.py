"""Where a run starts from, if not from a fresh adapter: a finished run whose adapter is taught on.

    start = find_start("round-3-0123abcd", recipe, base)     BACKTALK_HOME/runs/round-3-0123abcd
    start.folder, start.entries

The adapter has to be the one that its card vouches for, on the same base and of the same shape.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk.card import Card, read_card
from backtalk.config import from_plain
from backtalk.errors import ModelError, WordsError
from backtalk.files import sha256_of
from backtalk.home import home
from training.base import Base
from training.recipe import Lora, Recipe

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class Start:
    """The folder of the run, and its adapter's files as the card of the next run names them."""

    folder: Path
    entries: list[dict[str, Any]]


def find_start(name: str, recipe: Recipe, base: Base) -> Start:
    """The run of that id, or in that folder. Raises WordsError or ModelError where it cannot be taught on."""
    folder = Path(name) if Path(name).is_dir() else home() / "runs" / name
    if not folder.is_dir():
        raise WordsError(f"The recipe starts from '{name}', and there is no such run in {home()}.")
    card = read_card(folder)
    if card.kind != "run":
        raise WordsError(f"The recipe starts from {folder}, which is a {card.kind}; a run was wanted.")
    _check_base(card, base, name)
    _check_shape(card, recipe.lora, name)
    return Start(folder, [_entry(folder, card, file) for file in ADAPTER])


def _check_base(card: Card, base: Base, name: str) -> None:
    theirs = {entry["path"]: entry["sha256"] for entry in card.inputs if entry.get("role") == "base"}
    ours = {entry["path"]: entry["sha256"] for entry in base.entries}
    other = sorted(path for path, digest in ours.items() if theirs.get(path) != digest)
    if other:
        raise ModelError(
            f"The run {name} taught another base than {base.repo or base.folder}: {other[0]} differs. "
            "Name its base as base.model, or leave start out."
        )


def _check_shape(card: Card, lora: Lora, name: str) -> None:
    theirs = from_plain(Lora, card.recipe["lora"], f"the card of {name}")
    for what, found, wanted in (
        ("r", theirs.r, lora.r),
        ("alpha", theirs.effective_alpha, lora.effective_alpha),
        ("targets", theirs.targets, lora.targets),
        ("layers", theirs.layers, lora.layers),
        ("rslora", theirs.rslora, lora.rslora),
        ("dora", theirs.dora, lora.dora),
    ):
        if found != wanted:
            raise WordsError(
                f"The run {name} has lora.{what} {found} and the recipe that starts from it {wanted}; an "
                "adapter keeps its shape. Set the same, or leave start out."
            )


def _entry(folder: Path, card: Card, file: str) -> dict[str, Any]:
    path = folder / file
    told = next((entry["sha256"] for entry in card.outputs if entry["path"] == file), "")
    if not path.is_file() or sha256_of(path) != told:
        raise ModelError(
            f"{path} is not what the card of its run says: it was changed or lost. Train that run again, or "
            "leave start out."
        )
    return {
        "role": "adapter",
        "folder": str(folder.resolve()),
        "path": file,
        "sha256": told,
        "bytes": path.stat().st_size,
    }
