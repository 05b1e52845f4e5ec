"""Supervised fine-tuning: TRL's trainer, told everything, with rows that are tokens already.

What is ours: the loss on a CPU (of the learned tokens alone, see loss.py), the order of the rows (order.py),
and checkpoints that are whole or not there. The loop, the optimizer and the schedule are TRL's.
"""

import math
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from training import checkpoint
from training.backends import Plan
from training.batches import Collator, example, pack, packed_example
from training.loss import can_learn_by_places, summed_loss
from training.order import order_of, steps_of
from training.recipe import Batch, Recipe
from training.render import Row

OPTIMISERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
}
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


class Trainer(SFTTrainer):
    """TRL's, with a loss for the CPU and checkpoints that appear whole."""

    def __init__(self, *, keep: int, pad: int, **given: Any):
        super().__init__(**given)
        self.tokens = 0
        """Tokens that were read in this process, padding not counted."""
        self._keep, self._pad = keep, pad
        self._by_places = self.args.device.type == "cpu" and can_learn_by_places(self._bare())

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        self.tokens += int(inputs["input_ids"].ne(self._pad).sum())
        if return_outputs or not self._by_places:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        bare = self._bare()
        # Padding is on the right, where a causal model does not look: without a mask, attention takes the
        # fast way. Packed rows have positions instead, from which transformers makes the mask.
        places = {name: inputs[name] for name in ("position_ids",) if name in inputs}
        hidden = bare.base_model(input_ids=inputs["input_ids"], use_cache=False, **places).last_hidden_state
        loss = summed_loss(hidden, bare.get_output_embeddings().weight, inputs["labels"])
        return loss / num_items_in_batch

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: TRL walks through all modules for it in every step."""
        return 0

    def _bare(self) -> Any:
        return self.model.get_base_model()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As TRL does, but into a folder that takes its name when it is whole, and without the tokenizer."""
        folder, step = Path(self.args.output_dir), self.state.global_step
        if not self.args.should_save:
            self._save_random_numbers(checkpoint.part_of(folder, step))
            return
        with checkpoint.writing(folder, step) as part:
            self._save_random_numbers(part)
            self.model.save_pretrained(part, save_embedding_layers=False)
            self._save_optimizer_and_scheduler(str(part))
            self._save_scaler(str(part))
            self.state.save_to_json(str(part / "trainer_state.json"))
        checkpoint.keep_newest(folder, self._keep)

    def _save_random_numbers(self, part: Path) -> None:
        """Each process writes its own, between the moments when the folder is there and when it is closed."""
        self.accelerator.wait_for_everyone()
        self._save_rng_state(str(part))
        self.accelerator.wait_for_everyone()


def examples(rows: list[Row], batch: Batch) -> list[dict[str, list[int]]]:
    """What the trainer takes: a row each, or packed rows."""
    if not batch.packing:
        return [example(row) for row in rows]
    groups = pack(rows, range(len(rows)), batch.max_length)
    return [packed_example([rows[place] for place in group]) for group in groups]


def total_steps(recipe: Recipe, count: int, processes: int = 1) -> int:
    """The optimiser steps of a run over `count` examples."""
    schedule, batch = recipe.schedule, recipe.batch
    return steps_of(count, schedule.steps, schedule.epochs, batch.size * batch.accumulation * processes)


def make_trainer(
    recipe: Recipe, plan: Plan, model: Any, tokenizer: Any, taught: list[dict[str, list[int]]], folder: Path
) -> Trainer:
    """The trainer of a run over the examples `taught`; `folder` has its checkpoints."""
    batch = recipe.batch
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    config = sft_config(recipe, plan, total_steps(recipe, len(taught)), folder)
    lengths = [len(one["input_ids"]) for one in taught]
    batches = config.max_steps * batch.accumulation * config.world_size
    order = order_of(lengths, batches, batch.size, recipe.seed, batch.buckets)
    return Trainer(
        keep=recipe.checkpoints.keep,
        pad=pad,
        model=model,
        args=config,
        train_dataset=Dataset.from_list(taught).select(order),
        data_collator=Collator(pad),
        processing_class=tokenizer,
    )


def sft_config(recipe: Recipe, plan: Plan, steps: int, folder: Path) -> SFTConfig:
    """Every hyper-parameter, said: no backend's defaults decide over anything."""
    batch, optimiser, compute = recipe.batch, recipe.optimiser, str(plan.numbers.compute)
    on_gpu = plan.device == "cuda"
    return SFTConfig(
        output_dir=str(folder),
        run_name=recipe.name,
        seed=recipe.seed,
        data_seed=recipe.seed,
        use_cpu=plan.device == "cpu",
        # data: rows come as tokens, in their order, of a length that was checked
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="sequential",
        shuffle_dataset=False,
        max_length=None,
        packing=False,
        padding_free=False,
        remove_unused_columns=False,
        dataloader_drop_last=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=on_gpu,
        ignore_data_skip=False,
        # what is learned
        completion_only_loss=False,
        assistant_only_loss=False,
        loss_type="nll",
        label_smoothing_factor=0.0,
        neftune_noise_alpha=None,
        average_tokens_across_devices=True,
        # how
        max_steps=steps,
        per_device_train_batch_size=batch.size,
        gradient_accumulation_steps=batch.accumulation,
        optim=OPTIMISERS[optimiser.name],
        optim_args=None,
        learning_rate=optimiser.rate,
        adam_beta1=optimiser.beta1,
        adam_beta2=optimiser.beta2,
        adam_epsilon=optimiser.epsilon,
        weight_decay=optimiser.weight_decay,
        max_grad_norm=optimiser.clip,
        lr_scheduler_type=SCHEDULES[recipe.schedule.shape],
        lr_scheduler_kwargs=None,
        warmup_steps=math.ceil(recipe.schedule.warmup * steps),
        # on what; on a CPU weights of 16 bits are computed with as they are, without autocast's copies
        bf16=on_gpu and compute == "torch.bfloat16",
        fp16=on_gpu and compute == "torch.float16",
        tf32=None,
        gradient_checkpointing=plan.checkpoints_layers,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        activation_offloading=False,
        torch_compile=False,
        auto_find_batch_size=False,
        use_liger_kernel=False,
        # what is written
        eval_strategy="no",
        save_strategy="steps",
        save_steps=recipe.checkpoints.every,
        save_total_limit=None,
        save_only_model=False,
        load_best_model_at_end=False,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=_trackers(recipe),
        disable_tqdm=True,
        push_to_hub=False,
    )


def _trackers(recipe: Recipe) -> list[str]:
    wanted = {"tensorboard": recipe.logging.tensorboard, "trackio": recipe.logging.trackio}
    return [name for name, chosen in wanted.items() if chosen] or ["none"]
