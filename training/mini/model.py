"""The miniature's shape: Llama-3.2 made small, so that code written for the one runs on the other.

Grouped-query attention, llama3 rope scaling, tied embeddings, RMSNorm eps 1e-5. Hidden and intermediate
size are multiples of 256, which K-quants need. The context is what training has seen, 2,048 tokens, and the
rope scaling is Llama-3.2's with its original context made small in proportion.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.mini.recipe import LONGEST

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM

SHAPE: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "max_position_embeddings": LONGEST,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 1024,
    },
}


def configuration(vocabulary: int, begin: int, end_of_turn: int, pad: int) -> "LlamaConfig":
    """The configuration for a tokenizer with these ids."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocabulary, bos_token_id=begin, eos_token_id=end_of_turn, pad_token_id=pad, **SHAPE
    )


def new_model(config: "LlamaConfig", seed: int) -> "LlamaForCausalLM":
    """A model with random weights, the same ones for the same seed."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


def load_model(folder: Path) -> "LlamaForCausalLM":
    """The weights of an earlier build, in float32."""
    import torch
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
