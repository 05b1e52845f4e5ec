"""The classes of models that are written here, each in a file of its own; a new one is one more row."""

from typing import Any

from backtalk.errors import ModelError
from export.architectures.architecture import Architecture, Config, Tensor
from export.architectures.gpt2 import GPT2
from export.architectures.llama import LLAMA

ARCHITECTURES: dict[str, Architecture] = {"LlamaForCausalLM": LLAMA, "GPT2LMHeadModel": GPT2}

__all__ = ["ARCHITECTURES", "Architecture", "Config", "Tensor", "architecture_of"]


def architecture_of(config: Config) -> Architecture:
    """How this model is written. Raises ModelError for a class that is not known here."""
    name = _class_name(config)
    if name not in ARCHITECTURES:
        raise ModelError(
            f"{name} is not an architecture that is converted here; known are {', '.join(ARCHITECTURES)}. "
            "Give --llama-cpp DIR, a checkout of llama.cpp whose own converter may know it."
        )
    return ARCHITECTURES[name]


def _class_name(config: Config) -> str:
    names: Any = config.get("architectures")
    first = names[0] if isinstance(names, list) and names else ""
    return first if isinstance(first, str) and first else "A model without a name"
