"""The converter and its proof, on small models with random weights in Llama-3.2's arrangement.

Command: .venv/bin/python -m pytest -q tests/export/test_convert.py
Promise: what is converted answers as its folder does, and what cannot be converted leaves no file.
"""

import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from backtalk.errors import ModelError, WordsError
from export.convert import Metadata, convert
from export.verify import verify
from tests.export.small_models import small_folder
from training.mini.tokenizer import BEGIN_OF_TEXT, END_OF_TURN, PAD, save_tokenizer, train_tokenizer

CONVERSATIONS = [
    [
        {"role": "system", "content": "Answer in one sentence."},
        {"role": "user", "content": "where is my order 4821? <|eot_id|>"},
        {"role": "assistant", "content": "You can follow order 4821 on our page, naïve façade 🙂."},
    ],
    [{"role": "user", "content": "thanks " * 100}, {"role": "assistant", "content": "You are welcome."}],
]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Trained on invented words: enough of them for every merge of the vocabulary."""
    syllables = [a + b + c for a in "bcdfghklmnprst" for b in "aeiou" for c in ("", "n", "r", "l", "s")]
    words = [one + two for one in syllables for two in syllables[::3]]
    return train_tokenizer([" ".join(words), *["user system assistant order parcel \n\n"] * 50])


def llama_folder(folder: Path, tokenizer: Tokenizer, *, tied: bool = True, **saving: str) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        rms_norm_eps=1e-5,
        max_position_embeddings=2048,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 256,
        },
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.token_to_id(BEGIN_OF_TEXT),
        eos_token_id=tokenizer.token_to_id(END_OF_TURN),
        pad_token_id=tokenizer.token_to_id(PAD),
        initializer_range=0.05,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, **saving)
    save_tokenizer(tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    return llama_folder(tmp_path_factory.mktemp("llama"), tokenizer)


def field(path: Path, key: str) -> object:
    return gguf.GGUFReader(path).get_field(key).contents()


@pytest.mark.parametrize(("type", "bound"), [("F32", 1e-6), ("F16", 1e-5), ("BF16", 1e-4), ("Q8_0", 1e-3)])
def test_a_gguf_answers_as_its_model_does(folder: Path, tmp_path: Path, type: str, bound: float) -> None:
    verdict = verify(folder, convert(folder, tmp_path / "model.gguf", type), CONVERSATIONS, bound)
    assert verdict.probes_equal == verdict.probes
    assert verdict.divergence < bound
    assert verdict.holds


def test_shards_and_untied_embeddings_are_read(tmp_path: Path, tokenizer: Tokenizer) -> None:
    sharded = llama_folder(tmp_path / "sharded", tokenizer, tied=False, max_shard_size="1MB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    assert verify(sharded, convert(sharded, tmp_path / "model.gguf", "F16"), CONVERSATIONS).divergence < 1e-5


def test_a_wrong_file_does_not_pass(folder: Path, tmp_path: Path, tokenizer: Tokenizer) -> None:
    other = llama_folder(tmp_path / "other", tokenizer)
    weights = LlamaForCausalLM.from_pretrained(other)
    torch.nn.init.normal_(weights.model.layers[0].self_attn.q_proj.weight, std=0.5)
    weights.save_pretrained(other)
    assert not verify(folder, convert(other, tmp_path / "other.gguf", "F16"), CONVERSATIONS).holds


def test_the_file_says_what_it_is(folder: Path, tmp_path: Path) -> None:
    metadata = Metadata(name="Small", version="7", license="apache-2.0")
    path = convert(folder, tmp_path / "model.gguf", "Q8_0", metadata)
    assert field(path, "general.name") == "Small"
    assert field(path, "general.version") == "7"
    assert field(path, "general.license") == "apache-2.0"
    assert field(path, "general.file_type") == gguf.LlamaFileType.MOSTLY_Q8_0
    assert field(path, "tokenizer.ggml.pre") == "llama-bpe"
    assert field(path, "tokenizer.chat_template") == (folder / "chat_template.jinja").read_text()


def test_the_template_alone_begins_the_text(folder: Path, tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = convert(folder, tmp_path / "model.gguf", "F16")
    assert field(path, "tokenizer.ggml.add_bos_token") is False
    assert field(path, "tokenizer.ggml.bos_token_id") == tokenizer.token_to_id(BEGIN_OF_TEXT)
    assert field(path, "tokenizer.ggml.eos_token_id") == tokenizer.token_to_id(END_OF_TURN)


def test_special_tokens_are_control_tokens(folder: Path, tmp_path: Path, tokenizer: Tokenizer) -> None:
    types = field(convert(folder, tmp_path / "model.gguf", "F16"), "tokenizer.ggml.token_type")
    assert isinstance(types, list)
    assert types[tokenizer.token_to_id(END_OF_TURN)] == gguf.TokenType.CONTROL
    assert types.count(gguf.TokenType.CONTROL) == 256


def test_norms_and_rope_factors_stay_exact(folder: Path, tmp_path: Path) -> None:
    tensors = {
        tensor.name: tensor for tensor in gguf.GGUFReader(convert(folder, tmp_path / "m.gguf")).tensors
    }
    assert tensors["token_embd.weight"].tensor_type == gguf.GGMLQuantizationType.Q8_0
    assert tensors["output_norm.weight"].tensor_type == gguf.GGMLQuantizationType.F32
    factors = tensors["rope_freqs.weight"].data
    assert factors[0] == 1 and np.isclose(factors[-1], 32) and (np.diff(factors) >= 0).all()


def test_an_architecture_without_an_entry_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other"
    copy.mkdir()
    config = json.loads((folder / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "architectures": ["MambaForCausalLM"]}))
    with pytest.raises(ModelError, match="MambaForCausalLM is not an architecture that is converted here"):
        convert(copy, tmp_path / "model.gguf")


def test_an_unknown_type_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WordsError, match="Q9"):
        convert(folder, tmp_path / "model.gguf", "Q9")


def test_a_failed_conversion_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "torn"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes()[: 9 if file.suffix == ".safetensors" else None])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        convert(copy, tmp_path / "out" / "model.gguf")
    assert not list(tmp_path.glob("out/*"))


def test_values_that_a_type_cannot_hold_are_told(tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "small")
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][3, 3] = 70_000
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="Use --type BF16"):
        convert(folder, tmp_path / "m.gguf", "F16")
    assert convert(folder, tmp_path / "m.gguf", "BF16").is_file()
    weights["model.embed_tokens.weight"][3, 3] = np.nan
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="no numbers"):
        convert(folder, tmp_path / "n.gguf", "BF16")
    assert not (tmp_path / "n.gguf").exists()


def test_a_folder_that_lacks_a_tensor_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "small")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="blk.0.ffn_up.weight"):
        convert(folder, tmp_path / "out" / "m.gguf")
    assert not (tmp_path / "out").exists()


def test_an_adapter_that_was_not_merged_is_refused(tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "small")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.lora_A.weight"] = np.zeros((4, 32), np.float32)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="Merge adapters first"):
        convert(folder, tmp_path / "m.gguf")


def test_too_little_disk_is_said_before_the_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_folder(tmp_path / "small")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(ModelError, match="Make room"):
        convert(folder, tmp_path / "out" / "m.gguf")
    assert not list(tmp_path.glob("out/*"))


def test_converting_needs_no_torch(folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from export.convert import convert;"
        f"convert(Path({str(folder)!r}), Path({str(tmp_path / 'm.gguf')!r}));"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
