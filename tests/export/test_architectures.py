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
from transformers import AutoModelForCausalLM

from backtalk.errors import ModelError
from backtalk.files import read_json
from export.architectures import ARCHITECTURES
from export.convert import convert
from export.verify import verify
from tests.export.shapes import GPT2S, LLAMA3_ROPE, LLAMAS, gpt2_folder, llama_folder
from tests.export.small_models import small_folder, write

BOUND = 1e-6  # nats per token, at F16
TIE = 5e-3  # nats between the two best tokens; F16 moves a logarithm by some 6e-4
CONVERSATIONS = [
    [
        {"role": "user", "content": "where is my order 4821? thanks, naïve façade 🙂"},
        {"role": "assistant", "content": "the parcel is on its way to Köln, def f(x):\n    return x"},
    ],
    [{"role": "user", "content": "tents and boots " * 30}],
]


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
