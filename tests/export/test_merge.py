"""A merged model answers as the adapter on its base did, and nothing but its own base is taken.

Command: python -m pytest tests/export/test_merge.py
Promise: every kind of adapter that PEFT makes here is merged to the logits of the live model, on its own base
alone, with the same bytes each time, and whole or not at all.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from backtalk.card import read_card
from backtalk.errors import BacktalkError, ModelError
from export.merge import main, merge
from tests.export.taught import TOKENIZER, gpt2_folder, loaded, logits, mini_folder, save_run, taught

LISTED = ["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "a list of targets": {"target_modules": LISTED},
    "rank-stabilised": {"use_rslora": True, "target_modules": LISTED},
    "patterns": {
        "target_modules": LISTED,
        "rank_pattern": {"layers.1.self_attn.q_proj": 2, "down_proj": 6},
        "alpha_pattern": {"layers.[01].self_attn.v_proj": 3},
    },
    "DoRA": {"use_dora": True, "target_modules": LISTED},
    "trained norms": {"modules_to_save": ["norm"]},
    "trained embeddings": {"modules_to_save": ["embed_tokens"]},
    "trained output": {"modules_to_save": ["lm_head"]},
    "trained embeddings and output": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "trained embeddings, kept tied": {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    "trained rows": {"trainable_token_indices": [5, 4000]},
    "trained rows by name": {"trainable_token_indices": {"embed_tokens": [5, 4000]}},
    "trained rows on both sides": {"trainable_token_indices": {"embed_tokens": [5, 9], "lm_head": [5, 7]}},
    "LoRA on embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "LoRA on embeddings, kept tied": {
        "target_modules": ["q_proj", "embed_tokens"],
        "ensure_weight_tying": True,
    },
    "LoRA on the output": {"target_modules": ["q_proj", "lm_head"]},
    "DoRA on embeddings": {"target_modules": ["q_proj", "embed_tokens"], "use_dora": True},
}
TIED = {name for name in KINDS if "embeddings" not in name and "output" not in name and "sides" not in name}
TIED |= {"trained embeddings, kept tied", "LoRA on embeddings, kept tied"}
AGREE = TIED - {"LoRA on embeddings, kept tied"}  # PEFT's own merge adds to both names of a tied matrix


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mini_folder(tmp_path_factory.mktemp("bases") / "mini")


@pytest.fixture(scope="module")
def plain(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the usual kind, with the card of its run."""
    return save_run(taught(base), base, tmp_path_factory.mktemp("runs") / "plain", {"round": 3})


@pytest.mark.parametrize("kind", KINDS)
def test_the_merged_model_computes_what_the_adapter_on_its_base_did(
    kind: str, base: Path, tmp_path: Path
) -> None:
    model = taught(base, **KINDS[kind])
    run = save_run(model, base, tmp_path / "run")
    merge(run, tmp_path / "merged", type="F32")
    live, found = logits(model), logits(loaded(tmp_path / "merged"))
    assert not torch.allclose(live, logits(loaded(base)), atol=1e-2), "the adapter must teach something"
    assert (live - found).abs().max() <= 2e-4
    if kind in AGREE:
        assert (logits(model.merge_and_unload()) - found).abs().max() <= 2e-4
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["tie_word_embeddings"] is (kind in TIED)


@pytest.mark.parametrize("kind", ["plain", "DoRA", "biases", "older names"])
def test_matrices_with_inputs_as_rows_are_merged_their_own_way(kind: str, tmp_path: Path) -> None:
    base = gpt2_folder(tmp_path / "gpt2")
    model = taught(
        base,
        target_modules=["c_attn", "c_proj", "c_fc"],
        fan_in_fan_out=True,
        use_dora=kind == "DoRA",
        lora_bias=kind == "biases",
    )
    if kind == "older names":
        weights = load_file(base / "model.safetensors")
        save_file(
            {name.removeprefix("transformer."): value for name, value in weights.items()},
            base / "model.safetensors",
            {"format": "pt"},
        )
    merge(save_run(model, base, tmp_path / "run"), tmp_path / "merged")
    found = logits_of_gpt2(loaded(tmp_path / "merged"))
    assert (logits_of_gpt2(model) - found).abs().max() <= 1e-4
    assert (logits_of_gpt2(model) - logits_of_gpt2(loaded(base))).abs().max() > 1e-2


def logits_of_gpt2(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([[5, 17, 300, 42, 9, 1000]])).logits[0]


def test_the_bf16_file_is_the_float32_one_rounded_once(base: Path, plain: Path, tmp_path: Path) -> None:
    merge(plain, tmp_path / "whole", type="F32")
    merge(plain, tmp_path / "rounded")
    whole, rounded = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "rounded"))
    untouched = load_file(base / "model.safetensors")
    assert {value.dtype for value in rounded.values()} == {torch.bfloat16}
    assert all(torch.equal(whole[name].bfloat16(), value) for name, value in rounded.items())
    changed = {name for name, value in rounded.items() if not torch.equal(value, untouched[name])}
    assert changed == {name for name in untouched if name.endswith(("q_proj.weight", "k_proj.weight"))}


def test_bytes_repeat_and_the_card_says_what_was_merged(base: Path, plain: Path, tmp_path: Path) -> None:
    one, two = merge(plain, tmp_path / "one"), merge(plain, tmp_path / "two")
    assert one.outputs == two.outputs
    card = read_card(tmp_path / "one")
    assert (card.kind, card.id, card.seed, card.recipe) == ("merged", "taught", 5, {"round": 3})
    assert {entry["role"] for entry in card.inputs} == {"base", "adapter"}
    wanted = {"adapter_config.json", "adapter_model.safetensors", "card.json"}
    assert {entry["path"] for entry in card.inputs if entry["role"] == "adapter"} == wanted
    assert {entry["path"] for entry in card.outputs} == {path.name for path in base.iterdir()}
    assert (tmp_path / "one" / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_shards_stay_shards(base: Path, tmp_path: Path) -> None:
    sharded = tmp_path / "sharded"
    loaded(base).to(torch.bfloat16).save_pretrained(sharded, max_shard_size="4MB")
    for name in TOKENIZER:
        shutil.copy(base / name, sharded / name)
    model = taught(sharded, modules_to_save=["lm_head"])
    merge(save_run(model, sharded, tmp_path / "run"), tmp_path / "merged", type="F32")
    assert len(list((tmp_path / "merged").glob("*.safetensors"))) > 1
    assert (logits(model) - logits(loaded(tmp_path / "merged"))).abs().max() <= 2e-4


def test_blocks_of_any_size_give_the_same_bytes(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = save_run(
        taught(base, target_modules=["embed_tokens", "q_proj"], use_dora=True), base, tmp_path / "run"
    )
    whole = merge(run, tmp_path / "whole").outputs
    monkeypatch.setattr("export.taught.BLOCK", 10_000)
    assert merge(run, tmp_path / "blocks").outputs == whole


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_another_base_is_refused_by_both_names(name: str, base: Path, plain: Path, tmp_path: Path) -> None:
    other = mini_folder(tmp_path / "other")
    with open(other / name, "r+b") as file:
        file.seek(-2, 2)
        file.write(b"\n\n")
    with pytest.raises(ModelError, match="another base or another revision") as fault:
        merge(plain, tmp_path / "merged", base=other)
    assert str(base) in str(fault.value) and str(other) in str(fault.value)
    assert not (tmp_path / "merged").exists()


def test_another_tokenizer_is_refused(plain: Path, tmp_path: Path) -> None:
    other = mini_folder(tmp_path / "other")
    with open(other / "tokenizer.json", "a") as file:
        file.write("\n")
    with pytest.raises(ModelError, match="another tokenizer"):
        merge(plain, tmp_path / "merged", base=other)


def test_a_tokenizer_that_the_run_changed_is_refused(base: Path, tmp_path: Path) -> None:
    run = save_run(taught(base), base, tmp_path / "run")
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    (run / "tokenizer.json").write_text(json.dumps({**tokenizer, "padding": {"strategy": "BatchLongest"}}))
    merge(run, tmp_path / "merged")  # how a batch was padded decides over no id
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][-1], "id": 4095, "content": "<|new|>"})
    (run / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match="the tokenizer beside it"):
        merge(run, tmp_path / "again")


def test_another_revision_than_peft_wrote_is_refused(base: Path, tmp_path: Path) -> None:
    model = taught(base)
    model.peft_config["default"].revision = "aaaa"
    run = save_run(model, base, tmp_path / "run", repo="shop/mini", revision="bbbb")
    with pytest.raises(ModelError, match="on revision aaaa and its card names bbbb"):
        merge(run, tmp_path / "merged", base=base)


def test_a_base_that_has_moved_is_found_where_it_is_said_to_be(base: Path, tmp_path: Path) -> None:
    run = save_run(taught(base), base, tmp_path / "run", folder=str(tmp_path / "gone"))
    with pytest.raises(ModelError, match="gone.*is not there.*--base"):
        merge(run, tmp_path / "merged")
    assert merge(run, tmp_path / "merged", base=base).metrics["taught"] == 12


def test_a_base_loaded_in_four_bits_is_merged_whole_and_said(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = save_run(taught(base), base, tmp_path / "run", {"model": {"load_in_4bit": True}})
    assert main([str(run), str(tmp_path / "merged"), "--json"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "loaded in 4 bits; merged into its 16-bit weights" in said[0]
    assert json.loads(said[-1])["taught"] == 12


def test_a_repository_of_four_bits_names_the_whole_one(base: Path, tmp_path: Path) -> None:
    name = "unsloth/Llama-3.2-1B-Instruct-unsloth-bnb-4bit"
    run = save_run(taught(base), base, tmp_path / "run", repo=name, revision="abc")
    with pytest.raises(ModelError, match="16-bit base unsloth/Llama-3.2-1B-Instruct and say"):
        merge(run, tmp_path / "merged")
    card = merge(run, tmp_path / "merged", base=base)
    assert "in 4 bits; merged into the 16-bit weights" in card.metrics["note"]
    assert {entry["repo"] for entry in card.inputs if "safetensors" in entry["path"] and "repo" in entry} == {
        "unsloth/Llama-3.2-1B-Instruct"
    }


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("peft_type", "LOHA", "of the type LOHA"),
        ("init_lora_weights", "pissa", "init_lora_weights: pissa"),
        ("alora_invocation_tokens", [1, 2], "alora_invocation_tokens"),
        ("layer_replication", [[0, 2]], "layer_replication"),
    ],
)
def test_an_adapter_of_another_kind_is_refused_by_its_name(
    entry: str, value: Any, said: str, base: Path, tmp_path: Path
) -> None:
    model = taught(base)
    run = save_run(model, base, tmp_path / "run")
    config = json.loads((run / "adapter_config.json").read_text())
    (run / "adapter_config.json").write_text(json.dumps({**config, entry: value}))
    card = json.loads((run / "card.json").read_text())
    (run / "card.json").write_text(json.dumps({**card, "outputs": []}))
    with pytest.raises(ModelError, match=said):
        merge(run, tmp_path / "merged")


def test_an_adapter_that_was_altered_is_refused(base: Path, tmp_path: Path) -> None:
    run = save_run(taught(base), base, tmp_path / "run")
    weights = load_file(run / "adapter_model.safetensors")
    save_file({name: value * 2 for name, value in weights.items()}, run / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="changed or damaged after the run"):
        merge(run, tmp_path / "merged")


def test_values_that_are_no_numbers_are_refused(base: Path, tmp_path: Path) -> None:
    model = taught(base)
    with torch.no_grad():
        next(weight for weight in model.parameters() if weight.requires_grad)[0, 0] = torch.nan
    with pytest.raises(ModelError, match="no numbers"):
        merge(save_run(model, base, tmp_path / "run"), tmp_path / "merged")
    assert not [path for path in (tmp_path / "merged").iterdir() if not path.name.endswith(".part")]


def test_too_little_disk_is_said_before_anything_is_written(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    with pytest.raises(ModelError, match="0.0 GB free, and the merged model needs 0.1 GB"):
        merge(plain, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_finished_merge_is_left_alone_and_another_is_not_overwritten(
    base: Path, plain: Path, tmp_path: Path
) -> None:
    merge(plain, tmp_path / "merged")
    stamp = (tmp_path / "merged" / "model.safetensors").stat().st_mtime_ns
    merge(plain, tmp_path / "merged")
    assert (tmp_path / "merged" / "model.safetensors").stat().st_mtime_ns == stamp
    other = save_run(taught(base, use_rslora=True), base, tmp_path / "other")
    with pytest.raises(BacktalkError, match="already"):
        merge(other, tmp_path / "merged")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(BacktalkError, match="letter.txt"):
        merge(plain, tmp_path / "mine")


def test_what_an_interruption_left_behind_is_made_anew(plain: Path, tmp_path: Path) -> None:
    wanted = merge(plain, tmp_path / "whole").outputs
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / ".model.safetensors.123.part").write_bytes(b"half")
    (broken / "model.safetensors").write_bytes(b"whole once, of another time")
    assert merge(plain, broken).outputs == wanted
    assert sorted(path.name for path in broken.iterdir()) == sorted(
        ["card.json", *(entry["path"] for entry in wanted)]
    )
