"""Every supported shape of model, three layers of random weights each: the GGUF is the model.

Command: .venv/bin/python -m pytest -q tests/export/test_architectures.py
Promise: token ids are those of the Hugging Face tokenizer on every probe, the divergence at F16 is at most
1e-6 nats per token and the best token the same wherever the model decides; what llama.cpp would compute in
another way is refused.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from backtalk.errors import ModelError
from backtalk.files import read_json
from export.architectures import ARCHITECTURES
from export.convert import convert
from export.verify import verify
from tests.export.small_models import (
    gpt2_tokenizer,
    llama2_tokenizer,
    llama3_tokenizer,
    llama_config,
    save_tokenizer,
    small_folder,
    smollm_tokenizer,
    write,
)

BOUND = 1e-6  # nats per token, at F16
TIE = 5e-3  # nats between the two best tokens; F16 moves a logarithm by some 6e-4
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
CONVERSATIONS = [
    [
        {"role": "user", "content": "where is my order 4821? thanks, naïve façade 🙂"},
        {"role": "assistant", "content": "the parcel is on its way to Köln, def f(x):\n    return x"},
    ],
    [{"role": "user", "content": "tents and boots " * 30}],
]


def llama_folder(folder: Path, tokenizer: str = "llama3", shard: str = "5GB", **changes: Any) -> Path:
    trained = TOKENIZERS[tokenizer]()
    settings = llama_config(trained.get_vocab_size(), **changes)
    settings.pop("architectures")
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**settings, initializer_range=0.08))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(0, 0.1)
    model.save_pretrained(folder, max_shard_size=shard)
    save_tokenizer(trained, folder)
    return folder


def gpt2_folder(folder: Path, **changes: Any) -> Path:
    trained = gpt2_tokenizer()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=trained.get_vocab_size(),
        n_positions=512,
        bos_token_id=None,
        eos_token_id=trained.token_to_id("<|endoftext|>"),
        n_embd=64,
        initializer_range=0.08,
        **{"n_head": 4, **changes},
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    save_tokenizer(trained, folder)
    return folder


def assert_same(folder: Path) -> None:
    verdict = verify(folder, convert(folder, folder / "model-F16.gguf", "F16"), CONVERSATIONS, BOUND)
    assert verdict.probes_equal == verdict.probes
    assert verdict.divergence <= BOUND
    assert verdict.reversal < TIE, "the best token differs where the model is decided"


@pytest.mark.parametrize("shape", LLAMAS)
def test_a_llama_answers_as_its_model_does(tmp_path: Path, shape: str) -> None:
    assert_same(llama_folder(tmp_path, **LLAMAS[shape]))


@pytest.mark.parametrize("shape", GPT2S)
def test_a_gpt2_answers_as_its_model_does(tmp_path: Path, shape: str) -> None:
    assert_same(gpt2_folder(tmp_path, **GPT2S[shape]))


def test_a_sharded_folder_has_shards(tmp_path: Path) -> None:
    folder = llama_folder(tmp_path, **LLAMAS["sharded"])
    assert len(list(folder.glob("*.safetensors"))) > 1


def test_names_without_a_prefix_and_stored_masks_are_read(tmp_path: Path) -> None:
    """gpt2 on the Hub: `h.0.attn...` instead of `transformer.h.0.attn...`, and causal masks beside it."""
    from safetensors.torch import load_file, save_file

    plain = gpt2_folder(tmp_path / "plain", n_layer=3)
    expected = convert(plain, tmp_path / "plain.gguf", "F16").read_bytes()
    path = plain / "model.safetensors"
    tensors = {name.removeprefix("transformer."): one for name, one in load_file(path).items()}
    mask = {f"h.{layer}.attn.bias": torch.ones(1, 1, 8, 8) for layer in range(3)}
    save_file(tensors | mask, path)
    assert convert(plain, tmp_path / "hub.gguf", "F16").read_bytes() == expected


def test_older_configs_mean_what_they_meant(tmp_path: Path) -> None:
    """transformers 4 kept `rope_theta` and `rope_scaling` apart, and left defaults of GPT-2 out."""
    folder = llama_folder(tmp_path / "llama", rope_parameters=LLAMA3_ROPE)
    now = convert(folder, tmp_path / "now.gguf", "F16").read_bytes()
    config = read_json(folder / "config.json")
    rope = config.pop("rope_parameters")
    config |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    write(folder / "config.json", config)
    assert convert(folder, tmp_path / "then.gguf", "F16").read_bytes() == now

    folder = gpt2_folder(tmp_path / "gpt2", n_layer=2)
    now = convert(folder, tmp_path / "now.gguf", "F16").read_bytes()
    config = read_json(folder / "config.json")
    defaults = ("n_inner", "activation_function", "layer_norm_epsilon", "tie_word_embeddings")
    write(folder / "config.json", {key: config[key] for key in config if key not in defaults})
    assert convert(folder, tmp_path / "then.gguf", "F16").read_bytes() == now


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("hidden_act", "gelu"),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}),
        ("rope_parameters", {"rope_type": "linear", "rope_theta": 1e4, "factor": float("nan")}),
        ("rms_norm_eps", -1),
        ("num_attention_heads", 0),
        ("num_key_value_heads", 3),
        ("hidden_size", "64"),
        ("vocab_size", 10),
        ("num_hidden_layers", 4),
    ],
)
def test_a_setting_that_would_not_be_kept_is_refused(tmp_path: Path, setting: str, value: Any) -> None:
    folder = small_folder(tmp_path / "model")
    write(folder / "config.json", read_json(folder / "config.json") | {setting: value})
    with pytest.raises(ModelError):
        convert(folder, tmp_path / "out" / "model.gguf", "F16")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("activation_function", "gelu"),
        ("scale_attn_by_inverse_layer_idx", True),
        ("scale_attn_weights", False),
        ("n_head", 5),
    ],
)
def test_a_gpt2_that_llama_cpp_computes_otherwise_is_refused(setting: str, value: Any) -> None:
    config = {"vocab_size": 100, "n_embd": 64, "n_head": 4} | {setting: value}
    with pytest.raises(ModelError):
        ARCHITECTURES["GPT2LMHeadModel"].check(config)


def test_a_wrong_order_of_rows_would_be_seen(tmp_path: Path) -> None:
    """The bound means something: one matrix whose rows are not interleaved is far beyond it."""
    folder = llama_folder(tmp_path)
    gguf = convert(folder, tmp_path / "model.gguf", "F16")
    model = AutoModelForCausalLM.from_pretrained(folder)
    query = model.model.layers[0].self_attn.q_proj.weight
    with torch.no_grad():
        query.copy_(query.reshape(4, 2, 8, 64).swapaxes(1, 2).reshape(64, 64).clone())
    model.save_pretrained(folder)
    assert verify(folder, gguf, CONVERSATIONS, BOUND).divergence > 100 * BOUND
