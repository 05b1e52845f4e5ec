"""What an adapter teaches, read from PEFT's two files and laid out by the module that is taught.

    lora = read_lora(folder)      adapter_config.json and adapter_model.safetensors

Known are LoRA with any list or pattern of ranks and alphas, rank-stabilised, weight-decomposed (DoRA), with
trained biases, on embeddings, and beside it whole trained modules and single trained rows of embeddings.
Anything else that PEFT can write changes the model in another way and is refused by its name.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backtalk.errors import ModelError
from backtalk.files import read_json
from export.weights import Stored, stored_in

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
PARTS = {
    "lora_A.weight": "a",
    "lora_B.weight": "b",
    "lora_B.bias": "bias",
    "lora_magnitude_vector": "magnitude",
    "lora_magnitude_vector.weight": "magnitude",
    "lora_embedding_A": "embedding_a",
    "lora_embedding_B": "embedding_b",
    "base_layer.weight": "frozen",
    "base_layer.bias": "frozen_bias",
    "token_adapter.trainable_tokens_delta": "tokens",
}
OTHERWISE = (  # settings that change what A and B mean
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
PLAIN_BEGINNINGS = (True, False, "gaussian", "orthogonal", "eva")  # the others change the base as they begin


@dataclass(frozen=True)
class Pair:
    """B times A, `scale` times, is added to a weight, whose outputs then get the length `magnitude`."""

    a: Stored
    b: Stored
    scale: float
    alpha: float
    magnitude: Stored | None = None
    bias: Stored | None = None
    on_embedding: bool = False

    @property
    def rank(self) -> int:
        return self.a.shape[0]


@dataclass(frozen=True)
class Lora:
    """Everything that an adapter holds, by the names of the base's modules and tensors."""

    folder: Path
    pairs: dict[str, Pair]
    """Module -> its pair."""
    whole: dict[str, Stored]
    """Tensor -> the trained one that takes its place."""
    tokens: dict[str, tuple[tuple[int, ...], Stored]]
    """Module -> ids and their trained rows."""
    frozen: dict[str, Stored]
    """Tensor -> the base's own, which PEFT repeats beside trained embeddings; nothing was taught there."""
    tied: bool
    """True where the adapter was told to keep tied embeddings tied."""
    config: Mapping[str, Any] = field(repr=False)

    @property
    def modules(self) -> set[str]:
        """Every module that is taught."""
        return {*self.pairs, *self.tokens, *(name.rpartition(".")[0] for name in self.whole)}


def read_lora(folder: Path) -> Lora:
    """The adapter in `folder`. Raises ModelError where it is broken or of a kind that is not merged here."""
    config = _config(folder)
    parts, whole = _by_module(folder)
    tokens = {module: tensors.pop("tokens") for module, tensors in parts.items() if "tokens" in tensors}
    frozen = {
        f"{module}.weight": tensors.pop("frozen") for module, tensors in parts.items() if "frozen" in tensors
    }
    frozen |= {
        f"{module}.bias": tensors.pop("frozen_bias")
        for module, tensors in parts.items()
        if "frozen_bias" in tensors
    }
    lora = Lora(
        folder=folder,
        pairs={
            module: _pair(folder, module, tensors, config) for module, tensors in parts.items() if tensors
        },
        whole=whole,
        tokens={module: (_ids(module, rows, config), rows) for module, rows in tokens.items()},
        frozen=frozen,
        tied=bool(config.get("ensure_weight_tying")),
        config=config,
    )
    if not lora.modules:
        raise ModelError(f"{folder / WEIGHTS} teaches nothing. Name the folder that the run has saved.")
    return lora


def _config(folder: Path) -> Mapping[str, Any]:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} holds no {name}. Name a folder that a finished run has saved.")
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        raise ModelError(f"{folder} is an adapter of the type {kind or 'unknown'}; LoRA was wanted.")
    used = [name for name in OTHERWISE if config.get(name)]
    begun = config.get("init_lora_weights", True)
    if begun not in PLAIN_BEGINNINGS:
        used.append(f"init_lora_weights: {begun}")
    if used:
        raise ModelError(
            f"{folder} was trained with {', '.join(used)}, which cannot be merged from files alone. "
            "Merge it with PEFT, or train with plain LoRA, rank-stabilised LoRA or DoRA."
        )
    return config


def _by_module(folder: Path) -> tuple[dict[str, dict[str, Stored]], dict[str, Stored]]:
    """Module -> part -> tensor, and the tensors that replace a whole one."""
    parts: dict[str, dict[str, Stored]] = defaultdict(dict)
    whole: dict[str, Stored] = {}
    for stored in stored_in(folder / WEIGHTS):
        name = stored.name.removeprefix(PREFIX)
        end = next((end for end in PARTS if name.endswith(f".{end}")), "")
        if end:
            parts[name.removesuffix(f".{end}")][PARTS[end]] = stored
        elif name.endswith((".weight", ".bias")) and "lora_" not in name and "token_adapter" not in name:
            whole[name] = stored
        else:
            raise ModelError(
                f"{folder / WEIGHTS} holds {stored.name}, which is no part of LoRA that is known here. "
                "Merge this adapter with PEFT."
            )
    return parts, whole


def _pair(folder: Path, module: str, parts: dict[str, Stored], config: Mapping[str, Any]) -> Pair:
    on_embedding = "embedding_a" in parts
    a, b = (parts.get(f"embedding_{part}" if on_embedding else part) for part in "ab")
    if (
        a is None
        or b is None
        or len(a.shape) != 2
        or len(b.shape) != 2
        or a.shape[0] != b.shape[1]
        or not a.bytes
    ):
        raise ModelError(
            f"{folder / WEIGHTS} holds no fitting A and B for {module}, only {', '.join(sorted(parts))}. "
            "Save the run again."
        )
    magnitude = parts.get("magnitude")
    if magnitude is not None and magnitude.bytes // b.shape[0] not in (2, 4):
        raise ModelError(f"{folder / WEIGHTS} holds no fitting magnitude for {module}. Save the run again.")
    alpha = float(_of_module(config.get("alpha_pattern"), module, config.get("lora_alpha", 8)))
    root = math.sqrt(a.shape[0]) if config.get("use_rslora") else a.shape[0]
    return Pair(a, b, alpha / root, alpha, magnitude, parts.get("bias"), on_embedding)


def _of_module(pattern: Mapping[str, Any] | None, module: str, otherwise: float) -> float:
    """A pattern names a module by the end of its path, as a regular expression; the first that fits holds."""
    for key, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({key})$", module):
            return value
    return otherwise


def _ids(module: str, rows: Stored, config: Mapping[str, Any]) -> tuple[int, ...]:
    """The ids whose rows were trained: one list for the embeddings, or a list for each module by its end."""
    told = config.get("trainable_token_indices") or []
    if isinstance(told, Mapping):
        told = next((ids for key, ids in told.items() if re.match(rf"(.*\.)?{re.escape(key)}$", module)), [])
    if len(told) != rows.shape[0]:
        raise ModelError(
            f"The adapter trains {rows.shape[0]} rows of {module} and its {CONFIG} names {len(told)} ids. "
            "Save the run again."
        )
    return tuple(int(place) for place in told)
