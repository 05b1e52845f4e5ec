"""LlamaForCausalLM: Llama 2 and 3, TinyLlama, SmolLM, and this project's miniature."""

from collections.abc import Mapping
from typing import Any

import gguf
import numpy as np

from backtalk.errors import ModelError
from export.architectures.architecture import Architecture, Config, Shapes, Tensor, count, number, only

ROPE_TYPES = ("default", "linear", "llama3")


def _layers(config: Config) -> int:
    return count(config, "num_hidden_layers")


def _heads(config: Config) -> int:
    return count(config, "num_attention_heads")


def _key_heads(config: Config) -> int:
    return count(config, "num_key_value_heads", _heads(config))


def _head_size(config: Config) -> int:
    return count(config, "head_dim", count(config, "hidden_size") // _heads(config))


def _check(config: Config) -> None:
    only(config, "hidden_act", ("silu", "swish"), "silu")
    _rope(config)
    if _heads(config) % _key_heads(config) or _head_size(config) % 2:
        raise ModelError(
            f"config.json says {_heads(config)} heads of size {_head_size(config)} share "
            f"{_key_heads(config)} keys; an even size and a whole ratio were wanted. "
            "Take config.json from where the weights came from."
        )


def _write_settings(writer: gguf.GGUFWriter, config: Config) -> None:
    rope = _rope(config)
    writer.add_block_count(_layers(config))
    writer.add_context_length(count(config, "max_position_embeddings", 2048))
    writer.add_embedding_length(count(config, "hidden_size"))
    writer.add_feed_forward_length(count(config, "intermediate_size"))
    writer.add_head_count(_heads(config))
    writer.add_head_count_kv(_key_heads(config))
    writer.add_key_length(_head_size(config))
    writer.add_value_length(_head_size(config))
    writer.add_layer_norm_rms_eps(number(config, "rms_norm_eps", 1e-6))
    writer.add_rope_dimension_count(_head_size(config))
    writer.add_rope_freq_base(number(rope, "rope_theta"))
    writer.add_vocab_size(count(config, "vocab_size"))
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(number(rope, "factor"))


def _rope(config: Config) -> dict[str, Any]:
    """Rotary settings: transformers 5 keeps them in `rope_parameters`, earlier ones in two places."""
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rope = {"rope_theta": config.get("rope_theta") or 10_000.0, **given}
    rope["rope_type"] = given.get("rope_type") or given.get("type") or "default"
    if rope["rope_type"] not in ROPE_TYPES:
        raise ModelError(
            f"This model scales its positions by '{rope['rope_type']}', which cannot be written here; "
            f"known are {', '.join(ROPE_TYPES)}. Give --llama-cpp DIR, a checkout of llama.cpp, to use its "
            "converter."
        )
    only(rope, "partial_rotary_factor", (1.0,), 1.0)
    return rope


def _rope_factors(config: Config) -> Mapping[str, Tensor]:
    """llama3 scaling as divisors of frequencies: 1 for short waves, then a ramp up to `factor`."""
    rope = _rope(config)
    if rope["rope_type"] != "llama3":
        return {}
    size = _head_size(config)
    waves = 2 * np.pi * number(rope, "rope_theta") ** (np.arange(0, size, 2) / size)
    turns = number(rope, "original_max_position_embeddings") / waves
    low, high = number(rope, "low_freq_factor"), number(rope, "high_freq_factor")
    ramp = np.clip((turns - low) / (high - low), 0.0, 1.0)
    divisors = 1 / ((1 - ramp) / number(rope, "factor") + ramp)
    return {"rope_freqs.weight": divisors.astype(np.float32)}


def interleave(heads: int, weight: Tensor) -> Tensor:
    """Rows of each head from "first half, second half" to the pairs that llama.cpp rotates together."""
    rows, *rest = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, *rest).swapaxes(1, 2).reshape(weight.shape)


def _query(weight: Tensor, config: Config) -> Tensor:
    return interleave(_heads(config), weight)


def _key(weight: Tensor, config: Config) -> Tensor:
    return interleave(_key_heads(config), weight)


def _shapes(config: Config) -> Shapes:
    words, width, inner = (count(config, key) for key in ("vocab_size", "hidden_size", "intermediate_size"))
    queries, keys = _heads(config) * _head_size(config), _key_heads(config) * _head_size(config)
    matrices = {
        "attn_q": (queries, width),
        "attn_k": (keys, width),
        "attn_v": (keys, width),
        "attn_output": (width, queries),
        "ffn_gate": (inner, width),
        "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }
    biased = {"attn": config.get("attention_bias"), "ffn": config.get("mlp_bias")}
    shapes: Shapes = {"token_embd.weight": (words, width), "output_norm.weight": (width,)}
    if not config.get("tie_word_embeddings", False):
        shapes["output.weight"] = (words, width)
    for layer in range(_layers(config)):
        shapes |= {f"blk.{layer}.{norm}.weight": (width,) for norm in ("attn_norm", "ffn_norm")}
        for name, shape in matrices.items():
            shapes[f"blk.{layer}.{name}.weight"] = shape
            if biased[name.partition("_")[0]]:
                shapes[f"blk.{layer}.{name}.bias"] = shape[:1]
    return shapes


LLAMA = Architecture(
    kind=gguf.MODEL_ARCH.LLAMA,
    layers=_layers,
    check=_check,
    write_settings=_write_settings,
    shapes=_shapes,
    change={"q_proj.weight": _query, "q_proj.bias": _query, "k_proj.weight": _key, "k_proj.bias": _key},
    ignored=(".rotary_emb.inv_freq",),
    extra=_rope_factors,
)
