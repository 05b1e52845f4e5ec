"""Layers that compute cheap results anew keep less, and learn the same.

Command: python -m pytest tests/training/test_recomputed.py
Promise: loss and every gradient are those of the plain layers, bit by bit, with dropout and packed rows too;
of the inner size two vectors of a token are kept, and no more than the estimate says; layers that are
computed twice, and models that are not built like Llama, stay as they are.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

from tests.training.teaching import small_base
from training import recomputed
from training.activations import bytes_of_step
from training.frozen import widen_when_used
from training.loss import summed_loss
from training.machine import is_tight
from training.recomputed import compute_anew

WIDTH, HIDDEN, INNER, LAYERS = 24, 64, 176, 2
SMALL = {
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 4096,
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "widened"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_loss_and_gradients_are_the_plain_ones_bit_by_bit(tmp_path: Path, dtype: str, dropout: float) -> None:
    folder = small_base(tmp_path / "base", dtype="bfloat16")
    plain, frugal = (learned(llama(folder, dtype, anew=anew, dropout=dropout)) for anew in (False, True))
    assert plain.keys() == frugal.keys() and len(plain) == 1 + LAYERS * 7 * 2
    assert all(value.abs().sum() > 0 for name, value in plain.items() if "lora_B" in name)
    assert [name for name in plain if not torch.equal(plain[name], frugal[name])] == []


def test_packed_rows_and_repeated_steps_change_nothing(tmp_path: Path) -> None:
    folder = small_base(tmp_path / "base")
    places = {"position_ids": torch.arange(WIDTH)[None] % (WIDTH // 2)}
    plain, frugal = (llama(folder, "float32", anew=anew) for anew in (False, True))
    for _ in range(2):
        first, second = learned(plain, **places), learned(frugal, **places)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_other_models_with_llamas_feed_forward_learn_the_same() -> None:
    plain, frugal = (learned(adapted(qwen(), 0.0, anew)) for anew in (False, True))
    assert all(torch.equal(plain[name], frugal[name]) for name in plain)


def test_two_vectors_of_the_inner_size_are_kept_instead_of_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_base(tmp_path / "base", intermediate_size=INNER)
    model = llama(folder, "float32", anew=True)
    kept = watched(model, monkeypatch)
    learned(model)
    wide = [size for size in kept.values() if size == WIDTH * INNER * 4]
    assert len(wide) == 2 * LAYERS
    config = model.get_base_model().config
    estimate = bytes_of_step(config, WIDTH, WIDTH, tight=True)
    assert sum(kept.values()) <= estimate < bytes_of_step(config, WIDTH, WIDTH)


def test_layers_that_are_computed_twice_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_base(tmp_path / "base")
    wanted = learned(llama(folder, "float32", anew=False))
    model = llama(folder, "float32", anew=True)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    kept = watched(model, monkeypatch)
    found = learned(model)
    assert kept == {} and all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_a_model_that_is_not_built_like_llama_is_left_alone() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=64))
    assert compute_anew(model) == 0
    assert all("forward" not in vars(module) for module in model.modules())


def test_it_is_for_large_bases_on_a_processor_alone() -> None:
    assert is_tight("cpu", 1_200_000_000)
    assert not is_tight("cuda", 1_200_000_000) and not is_tight("cpu", 8_000_000)


def llama(folder: Path, dtype: str, anew: bool, dropout: float = 0.0) -> Any:
    """The small base with an adapter whose both halves are other than zero."""
    kind = torch.float32 if dtype == "float32" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=kind)
    if dtype == "widened":
        widen_when_used(model, model.get_output_embeddings())
    return adapted(model, dropout, anew)


def adapted(model: Any, dropout: float, anew: bool = False) -> Any:
    if anew:
        assert compute_anew(model) == LAYERS
    torch.manual_seed(5)
    lora = LoraConfig(
        r=4, lora_dropout=dropout, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, lora).train()


def qwen() -> Any:
    torch.manual_seed(3)
    return Qwen3ForCausalLM(Qwen3Config(**SMALL))


def learned(model: Any, **places: torch.Tensor) -> dict[str, torch.Tensor]:
    """The loss of a fixed row, and the gradient of everything that has one."""
    torch.manual_seed(7)
    ids = torch.randint(0, 4096, (1, WIDTH))
    bare = model.get_base_model()
    hidden = bare.base_model(input_ids=ids, use_cache=False, **places).last_hidden_state
    loss = summed_loss(hidden, bare.get_output_embeddings().weight, ids)
    model.zero_grad()
    loss.backward()
    slopes = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    return {"loss": loss.detach(), **slopes}


def watched(model: Any, monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Bytes of every result that layers keep from now on, by its place in memory; weights left out."""
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, int] = {}
    held: list[torch.Tensor] = []  # so that no place is used twice
    pack = recomputed._Known.pack

    def noted(known: Any, tensor: torch.Tensor) -> Any:
        packed = pack(known, tensor)
        storage = tensor.untyped_storage()
        if isinstance(packed, torch.Tensor) and storage.data_ptr() not in weights:
            held.append(tensor.detach())
            kept[storage.data_ptr()] = storage.nbytes()
        return packed

    monkeypatch.setattr(recomputed._Known, "pack", noted)
    return kept
