"""Which libraries train: one signature, `load(recipe, base, plan) -> model with a fresh adapter`.

`auto` takes Unsloth where it is installed and there is a CUDA device, else transformers and PEFT, which serve
every device. On a CPU Unsloth is stock transformers and PEFT with choices that are made here as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from backtalk.errors import WordsError
from training.base import Base
from training.machine import Kind, Numbers
from training.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """What was decided for this machine."""

    device: Kind
    numbers: Numbers
    checkpoints_layers: bool


Load = Callable[[Recipe, Base, Plan], Any]


def choose(wanted: str, device: Kind) -> tuple[str, str]:
    """The backend's name, and why in words. Raises WordsError where the one that is wanted is not there."""
    installed = find_spec("unsloth") is not None
    if wanted == "peft":
        return "peft", "the recipe says so"
    if wanted == "unsloth":
        if not installed:
            raise WordsError(
                "backend is unsloth, which is not installed here. Use backend: peft, which trains the same."
            )
        raise WordsError("backend is unsloth, which comes with a later release. Use backend: peft.")
    if device != "cuda":
        return "peft", f"it is made for the {'processor' if device == 'cpu' else device}"
    return "peft", "Unsloth is not used by this release" if installed else "Unsloth is not installed"


def loader(name: str) -> Load:
    """The backend of a name; its libraries are loaded now."""
    from training.backends.with_peft import load

    assert name == "peft"
    return load
