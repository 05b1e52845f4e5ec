"""Which libraries train: one signature, `load(recipe, base, plan) -> model with a fresh adapter`.

`auto` takes Unsloth where it is installed and there is a CUDA device, else transformers and PEFT, which serve
every device. On a CPU Unsloth is stock transformers and PEFT with choices that are made here as well; there
it trains where the recipe says so.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch

from backtalk.errors import WordsError
from training.base import Base
from training.machine import Kind, Numbers, device, numbers
from training.recipe import Recipe

REWRITTEN = ("transformers", "trl", "peft")
"""Libraries of which Unsloth exchanges parts while it is loaded."""


@dataclass(frozen=True)
class Plan:
    """What was decided for this machine."""

    device: Kind
    numbers: Numbers
    checkpoints_layers: bool


Load = Callable[[Recipe, Base, Plan], Any]


def choose(recipe: Recipe, device: Kind) -> tuple[str, str]:
    """The backend's name, and why in words. Raises WordsError where the wanted one cannot train this."""
    wanted = recipe.backend
    if wanted == "peft":
        return "peft", "the recipe says so"
    if wanted == "auto" and device != "cuda":
        return "peft", f"it is made for the {'processor' if device == 'cpu' else device}"
    obstacle, remedy = _obstacle(recipe, device)
    if not obstacle and wanted == "unsloth":
        return "unsloth", "the recipe says so"
    if not obstacle:
        return "unsloth", f"Unsloth {version('unsloth')} is installed, on CUDA"
    if wanted == "unsloth":
        raise WordsError(
            f"backend is unsloth, and {obstacle}. {remedy}, or use backend: peft, which trains the same."
        )
    return "peft", obstacle


def load_first(recipe: Recipe) -> None:
    """Loads Unsloth, where it will train, before any library that it rewrites. Raises BacktalkError."""
    if choose(recipe, device())[0] == "unsloth":
        import_module("training.backends.with_unsloth").open_first()


def loader(name: str) -> Load:
    """The backend of a name; its libraries are loaded now."""
    load: Load = import_module(f"training.backends.with_{name}").load
    return load


def _obstacle(recipe: Recipe, device: Kind) -> tuple[str, str]:
    """Why Unsloth cannot train this here, and what would help; both empty where it can."""
    if find_spec("unsloth") is None:
        return (
            "Unsloth is not installed",
            "It needs older libraries than the rest: `make setup-unsloth` puts it into an environment of its "
            "own, where .venv-unsloth/bin/backtalk train takes the same recipe",
        )
    if device == "mps":
        return "Unsloth does not train on mps here", "Train on CUDA or a CPU"
    if set(recipe.methods) != {"sft"}:
        return "kto and dpo are trained with PEFT alone", "Train sft by itself"
    if recipe.batch.packing:
        # It tells packed conversations apart in batches of one row alone, and says nothing where it does not.
        return "Unsloth would let packed conversations see each other", "Set batch.packing: false"
    if device == "cuda" and numbers(recipe.precision, device, "float32", 0).compute == torch.float32:
        # Told to compute in neither of the narrow types, it takes one of them.
        return "Unsloth would not compute in float32 on CUDA", "Set precision: float16 or bfloat16"
    early = [name for name in REWRITTEN if name in sys.modules]
    if early and "unsloth" not in sys.modules:
        return f"Unsloth has to be loaded before {early[0]} is", "Start the run as backtalk train"
    return "", ""
