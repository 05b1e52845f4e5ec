"""A recipe says everything about a run, and a wrong one is told in one sentence.

Command: python -m pytest tests/training/test_recipe.py
Promise: every shipped recipe is read; a typo names the nearest key; what contradicts itself is refused; no
hyper-parameter is left to TRL's defaults.
"""

import dataclasses
from pathlib import Path

import pytest
import torch
from trl import SFTConfig

from backtalk.config import from_plain, to_plain
from backtalk.errors import WordsError
from training.backends import Plan
from training.machine import Numbers
from training.recipe import Recipe, read_recipe
from training.sft import sft_config

RECIPES = sorted(
    path
    for path in (Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml")
    if not path.stem.endswith("_round")
)

# Fields of TRL's configuration that decide over no number that is learned: where things are written, how
# often, how a machine is used; and what is there for models and data of other kinds.
NOT_OURS_TO_SAY = """
    activation_checkpointing activation_checkpointing_kwargs accelerator_config num_train_epochs
    batch_eval_metrics bf16_full_eval chat_template_path dataloader_in_order
    dataloader_multiprocessing_context dataloader_persistent_workers dataloader_prefetch_factor
    dataset_num_proc dataset_text_field ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb
    ddp_find_unused_parameters ddp_static_graph ddp_timeout debug deepspeed do_eval do_predict do_train
    enable_jit_checkpoint eos_token eval_accumulation_steps eval_delay eval_do_concat_batches
    eval_on_start eval_packing eval_steps eval_use_gather_object fp16_full_eval fsdp fsdp_config
    full_determinism greater_is_better hub_always_push hub_model_id hub_private_repo hub_revision
    hub_strategy hub_token include_for_metrics include_num_input_tokens_seen label_names
    length_column_name liger_kernel_config local_rank log_level log_level_replica log_on_each_node
    logging_first_step metric_for_best_model model_init_kwargs optim_target_modules packing_strategy
    pad_to_multiple_of pad_token parallelism_config per_device_eval_batch_size prediction_loss_only
    project restore_callback_states_from_checkpoint resume_from_checkpoint router_aux_loss_coef
    save_on_each_node skip_memory_metrics torch_compile_backend torch_compile_mode
    torch_empty_cache_steps trackio_bucket_id trackio_space_id trackio_static_space_id truncation_mode
    trust_remote_code use_cache
"""


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_read_and_comes_back_from_a_card(path: Path) -> None:
    recipe = read_recipe(path)
    assert from_plain(Recipe, to_plain(recipe), "the card") == recipe
    assert recipe.name == path.stem


def test_a_flag_beats_the_file_and_the_file_beats_the_default(tmp_path: Path) -> None:
    path = written(tmp_path, "lora: {r: 4, dropout: 0.1}\nschedule: {steps: 9}")
    recipe = read_recipe(path, {"lora.r": 32})
    assert (recipe.lora.r, recipe.lora.dropout, recipe.schedule.steps) == (32, 0.1, 9)
    assert recipe.seed == Recipe().seed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lora: {alfa: 3}", "'lora.alfa', which does not exist. Did you mean 'lora.alpha'?"),
        ("optimizer: {rate: 1}", "Did you mean 'optimiser'?"),
        ("method: sfft", "'sfft' was found"),
        ("lora: {targets: qw}", "qv, attention, all-linear, or a list"),
        ("lora: {targets: [lm_head]}", "names lm_head"),
        ("lora: {layers: [3, -1]}", "layers are counted from 0 on"),
        ("lora: {alpha: 8, alpha_over_r: 2}", "one knob. Leave one out"),
        ("schedule: {steps: 2, epochs: 3}", "Leave one out"),
        ("schedule: {warmup: 5}", "a share from 0 up to 1"),
        ("batch: {size: 0}", "at least 1 was wanted"),
        ("method: []", "empty list"),
        ("optimiser: {rate: 0}", "a number above 0"),
    ],
)
def test_what_is_off_is_told_in_one_sentence(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(WordsError, match="^[^\n]*$") as fault:
        read_recipe(written(tmp_path, text))
    assert told in str(fault.value)


def test_a_chain_of_methods_can_be_said(tmp_path: Path) -> None:
    assert read_recipe(written(tmp_path, "method: [sft, kto]")).methods == ("sft", "kto")
    assert read_recipe(written(tmp_path, "method: sft")).methods == ("sft",)


def test_nothing_that_is_learned_depends_on_trls_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    said: set[str] = set()
    monkeypatch.setattr("training.sft.SFTConfig", lambda **given: said.update(given))
    sft_config(Recipe(name="all"), Plan("cpu", Numbers(torch.float32, torch.float32, ""), False), 10, Path())
    unsaid = {field.name for field in dataclasses.fields(SFTConfig)} - said - set(NOT_OURS_TO_SAY.split())
    assert not unsaid


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path
