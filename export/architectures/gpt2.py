"""GPT2LMHeadModel: GPT-2 in its sizes, and DistilGPT-2."""

import gguf

from backtalk.errors import ModelError
from export.architectures.architecture import Architecture, Config, Shapes, count, number, only


def _layers(config: Config) -> int:
    return count(config, "n_layer", 12)


def _heads(config: Config) -> int:
    return count(config, "n_head", 12)


def _width(config: Config) -> int:
    return count(config, "n_embd", 768)


def _inner(config: Config) -> int:
    return count(config, "n_inner", 4 * _width(config))


def _positions(config: Config) -> int:
    """Older files repeat it as n_ctx, which transformers 5 no longer writes."""
    return count(config, "n_positions", 1024)


def _check(config: Config) -> None:
    only(config, "activation_function", ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"), "gelu_new")
    only(config, "scale_attn_weights", (True,), True)
    only(config, "scale_attn_by_inverse_layer_idx", (False,), False)
    only(config, "add_cross_attention", (False,), False)
    if _width(config) % _heads(config):
        raise ModelError(
            f"config.json says {_heads(config)} heads share a width of {_width(config)}, and a whole "
            "ratio was wanted. Take config.json from where the weights came from."
        )


def _write_settings(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_block_count(_layers(config))
    writer.add_context_length(_positions(config))
    writer.add_embedding_length(_width(config))
    writer.add_feed_forward_length(_inner(config))
    writer.add_head_count(_heads(config))
    writer.add_layer_norm_eps(number(config, "layer_norm_epsilon", 1e-5))
    writer.add_vocab_size(count(config, "vocab_size"))


def _shapes(config: Config) -> Shapes:
    words, width, inner = count(config, "vocab_size"), _width(config), _inner(config)
    shapes: Shapes = {
        "token_embd.weight": (words, width),
        "position_embd.weight": (_positions(config), width),
        "output_norm.weight": (width,),
        "output_norm.bias": (width,),
    }
    if not config.get("tie_word_embeddings", True):
        shapes["output.weight"] = (words, width)
    matrices = {
        "attn_qkv": (3 * width, width),
        "attn_output": (width, width),
        "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }
    for layer in range(_layers(config)):
        for norm in ("attn_norm", "ffn_norm"):
            shapes |= {f"blk.{layer}.{norm}.{part}": (width,) for part in ("weight", "bias")}
        for name, shape in matrices.items():
            shapes |= {f"blk.{layer}.{name}.weight": shape, f"blk.{layer}.{name}.bias": shape[:1]}
    return shapes


GPT2 = Architecture(
    kind=gguf.MODEL_ARCH.GPT2,
    layers=_layers,
    check=_check,
    write_settings=_write_settings,
    shapes=_shapes,
    transposed=("c_attn.weight", "c_proj.weight", "c_fc.weight"),  # Conv1D keeps inputs as rows
    ignored=(".attn.bias", ".attn.masked_bias"),  # the causal mask, which older files hold as tensors
    exact=frozenset({"position_embd.weight"}),  # looked up, never multiplied: small, and it costs nothing
)
