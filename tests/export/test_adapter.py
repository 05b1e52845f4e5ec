"""A GGUF adapter on the served base answers as the merged model does.

Command: python -m pytest tests/export/test_adapter.py
Promise: llama.cpp itself loads what is written here and comes to the merged model's logits; what llama.cpp
cannot add while it serves is refused, never left out.
"""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from llama_cpp import GGML_TYPE_F32, Llama
from transformers import AutoModelForCausalLM

from backtalk.errors import ModelError
from export.adapter import adapter_to_gguf, main
from export.convert import convert
from export.merge import merge
from tests.export.taught import IDS, gpt2_folder, mini_folder, save_run, taught

EVERYWHERE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "everywhere": {"target_modules": EVERYWHERE},
    "rank-stabilised": {"target_modules": EVERYWHERE, "use_rslora": True},
    "patterns": {
        "target_modules": EVERYWHERE,
        "rank_pattern": {"q_proj": 2, "layers.1.mlp.down_proj": 6},
        "alpha_pattern": {"k_proj": 3},
    },
}
BEYOND: dict[str, tuple[dict[str, Any], str]] = {
    "DoRA": ({"use_dora": True}, "DoRA"),
    "whole modules": ({"modules_to_save": ["norm"]}, "whole trained modules"),
    "rows": ({"trainable_token_indices": [5]}, "single trained rows"),
    "tied embeddings": ({"target_modules": ["embed_tokens"]}, "alone of two tied matrices"),
    "tied output": ({"target_modules": ["lm_head"]}, "embeddings may be tied"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mini_folder(tmp_path_factory.mktemp("bases") / "mini")


def served(path: Path, lora: Path | None = None, ids: list[int] | None = None) -> np.ndarray:
    """Logits of every position, as llama.cpp computes them, with nothing rounded to F16 in its caches."""
    llama = Llama(
        str(path),
        lora_path=str(lora) if lora else None,
        n_ctx=64,
        n_batch=64,
        logits_all=True,
        type_k=GGML_TYPE_F32,
        type_v=GGML_TYPE_F32,
        n_threads=1,
        verbose=False,
    )
    try:
        ids = ids or IDS[0].tolist()
        llama.eval(ids)
        return np.array(llama.scores[: len(ids)])
    finally:
        llama.close()


def assert_served_like_merged(run: Path, base: Path, place: Path, ids: list[int] | None = None) -> None:
    adapter_to_gguf(run, place / "taught.gguf")
    merge(run, place / "merged", type="F32")
    plain = convert(base, place / "base.gguf", "F32")
    merged = served(convert(place / "merged", place / "merged.gguf", "F32"), ids=ids)
    with_adapter = served(plain, place / "taught.gguf", ids)
    effect = np.abs(served(plain, ids=ids) - merged).max()
    assert effect > 0.1
    assert np.abs(with_adapter - merged).max() <= 2e-3 * max(1.0, effect)
    assert (with_adapter.argmax(-1) == merged.argmax(-1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_adapter_on_the_served_base_computes_what_the_merged_model_does(
    kind: str, base: Path, tmp_path: Path
) -> None:
    run = save_run(taught(base, **KINDS[kind]), base, tmp_path / "run")
    assert_served_like_merged(run, base, tmp_path)


def test_embeddings_and_output_of_an_untied_base_are_served(base: Path, tmp_path: Path) -> None:
    untied = mini_folder(tmp_path / "untied")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.save_pretrained(untied)
    run = save_run(
        taught(untied, target_modules=["embed_tokens", "lm_head", "q_proj"]), untied, tmp_path / "run"
    )
    assert_served_like_merged(run, untied, tmp_path)


def test_matrices_with_inputs_as_rows_are_served(tmp_path: Path) -> None:
    base = gpt2_folder(tmp_path / "gpt2")
    model = taught(base, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)
    run = save_run(model, base, tmp_path / "run")
    assert_served_like_merged(run, base, tmp_path, [5, 17, 300, 42, 9, 1000])


@pytest.mark.parametrize("kind", BEYOND)
def test_what_cannot_be_added_while_serving_is_refused(kind: str, base: Path, tmp_path: Path) -> None:
    config, said = BEYOND[kind]
    run = save_run(taught(base, **config), base, tmp_path / "run")
    with pytest.raises(ModelError, match=f"{said}.*Merge it"):
        adapter_to_gguf(run, tmp_path / "taught.gguf")
    assert not (tmp_path / "taught.gguf").exists()


def test_the_file_says_what_it_is_and_its_bytes_repeat(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = save_run(taught(base), base, tmp_path / "run")
    assert main([str(run), str(tmp_path / "one.gguf"), "--json"]) == 0
    one, two = tmp_path / "one.gguf", adapter_to_gguf(run, tmp_path / "two.gguf")
    assert json.loads(capsys.readouterr().out)["bytes"] == one.stat().st_size
    assert one.read_bytes() == two.read_bytes()
    reader = gguf.GGUFReader(one)
    told = {name: reader.get_field(name).contents() for name in ("general.type", "adapter.type")}
    assert told == {"general.type": "adapter", "adapter.type": "lora"}
    assert reader.get_field("adapter.lora.alpha").contents() == 8.0
    wanted = {f"blk.{n}.attn_{m}.weight.lora_{p}" for n in range(6) for m in "qk" for p in "ab"}
    assert {tensor.name for tensor in reader.tensors} == wanted


def test_an_adapter_of_another_base_is_refused(base: Path, tmp_path: Path) -> None:
    run = save_run(taught(base), base, tmp_path / "run")
    other = mini_folder(tmp_path / "other")
    (other / "tokenizer.json").write_text((base / "tokenizer.json").read_text() + " ")
    with pytest.raises(ModelError, match="another tokenizer"):
        adapter_to_gguf(run, tmp_path / "taught.gguf", base=other)
