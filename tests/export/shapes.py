"""Random models of every supported shape, three layers each, as folders with real tokenizers.

llama_folder(folder, **LLAMAS["Llama-3.2-1B"])
gpt2_folder(folder, **GPT2S["distilgpt2"])
"""

from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from tests.export.small_models import (
    gpt2_tokenizer,
    llama2_tokenizer,
    llama3_tokenizer,
    llama_config,
    save_tokenizer,
    smollm_tokenizer,
)

SPREAD = 0.08  # of random weights in rows of 64; wider rows want less, or rounding grows from layer to layer
TOKENIZERS = {
    "llama3": llama3_tokenizer,
    "llama3, always merged": lambda: llama3_tokenizer(ignore_merges=False),
    "llama2": llama2_tokenizer,
    "smollm": smollm_tokenizer,
    "gpt2": gpt2_tokenizer,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
LLAMAS: dict[str, dict[str, Any]] = {
    "Llama-3.2-1B": {"rope_parameters": LLAMA3_ROPE, "num_key_value_heads": 1, "head_dim": 16},
    "Llama-3.2-3B": {"rope_parameters": LLAMA3_ROPE, "num_attention_heads": 3, "num_key_value_heads": 1,
                     "hidden_size": 96, "head_dim": 32},
    "Llama-3.1-8B": {"rope_parameters": {**LLAMA3_ROPE, "factor": 8.0}, "tie_word_embeddings": False},
    "TinyLlama": {"tokenizer": "llama2", "tie_word_embeddings": False},
    "tied TinyLlama": {"tokenizer": "llama2"},
    "SmolLM": {"tokenizer": "smollm", "num_attention_heads": 3, "num_key_value_heads": 3, "hidden_size": 96},
    "linear positions": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
    "no shared keys, biases": {"num_key_value_heads": 4, "attention_bias": True, "mlp_bias": True},
    "sharded": {"tie_word_embeddings": False, "shard": "100KB"},
    "always merged": {"tokenizer": "llama3, always merged"},
}  # fmt: skip
GPT2S: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 3},
    "distilgpt2": {"n_layer": 2, "n_head": 2},
    "gpt2 of another inner width, untied": {"n_layer": 2, "n_inner": 96, "tie_word_embeddings": False},
}


def llama_folder(
    folder: Path,
    tokenizer: str = "llama3",
    shard: str = "5GB",
    dtype: torch.dtype = torch.float32,
    spread: float = SPREAD,
    **changes: Any,
) -> Path:
    trained = TOKENIZERS[tokenizer]()
    settings = llama_config(trained.get_vocab_size(), **changes)
    settings.pop("architectures")
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**settings, initializer_range=spread))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(0, 0.1)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    save_tokenizer(trained, folder)
    return folder


def gpt2_folder(folder: Path, spread: float = SPREAD, **changes: Any) -> Path:
    trained = gpt2_tokenizer()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=trained.get_vocab_size(),
        n_positions=512,
        bos_token_id=None,
        eos_token_id=trained.token_to_id("<|endoftext|>"),
        initializer_range=spread,
        **{"n_head": 4, "n_embd": 64, **changes},
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    save_tokenizer(trained, folder)
    return folder
