"""How much memory a step needs for what it remembers on the way forward, and whether to compute it twice.

An estimate, on the high side, from the shape of the model: what a layer keeps of each token for the way back.
"""

from typing import Any

from training.machine import Kind, free_memory, gigabytes

SPARE = 0.8  # of the free memory: estimates are estimates, and others use the machine too
KEPT_HIDDEN = (
    12  # vectors of the hidden size that a layer keeps of a token: norms, queries, sums, LoRA's inputs
)
KEPT_INNER = 5  # vectors of the inner size: gate, up, their product and what its two factors need
TIGHT_HIDDEN, TIGHT_INNER = 8, 3  # of both where recomputed.py lets a layer keep less
LIKE_LLAMA = ("gemma", "llama", "mistral", "qwen2", "qwen3")  # models whose layers it knows


def bytes_of_step(config: Any, tokens: int, width: int, tight: bool = False) -> int:
    """What a step over `tokens` tokens in rows of `width` keeps without checkpointing, in float32.

    `tight`: on a machine that computes anew what is cheap (machine.is_tight).
    """
    hidden = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    layers, heads = int(config.num_hidden_layers), int(config.num_attention_heads)
    scores = heads * width  # attention that is not fused keeps them
    less = tight and config.model_type in LIKE_LLAMA
    of_hidden, of_inner = (TIGHT_HIDDEN, TIGHT_INNER) if less else (KEPT_HIDDEN, KEPT_INNER)
    return layers * tokens * (of_hidden * hidden + of_inner * inner + scores) * 4


def checkpoints_layers(wanted: bool | str, needed: int, kind: Kind) -> tuple[bool, str]:
    """Whether layers are computed twice, and why in words."""
    if wanted != "auto":
        return bool(wanted), "the recipe says so"
    free = free_memory(kind)
    short = needed > SPARE * free
    verb = "do not fit" if short else "fit"
    return short, f"about {gigabytes(needed)} of intermediate results {verb} into {gigabytes(free)} free"
