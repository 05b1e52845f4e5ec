"""Supervised fine-tuning: TRL's trainer, told everything, with rows that are tokens already.

What is ours: the loss on a CPU (of the learned tokens alone, see loss.py), the order of the rows (order.py),
and checkpoints that are whole or not there. The loop, the optimizer and the schedule are TRL's.
"""

from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from training.arguments import arguments
from training.backends import Plan
from training.batches import Collator
from training.loss import can_learn_by_places, summed_loss
from training.recipe import Recipe
from training.saving import SavesWhole
from training.stage import Stage


class Trainer(SavesWhole, SFTTrainer):
    """TRL's, with a loss for the CPU and checkpoints that appear whole."""

    def __init__(self, *, keep: int, pad: int, **given: Any):
        super().__init__(**given)
        self.tokens = 0
        """Tokens that were read in this process, padding not counted."""
        self.keep, self._pad = keep, pad
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

    def _bare(self) -> Any:
        return self.model.get_base_model()


def make_trainer(stage: Stage, plan: Plan, model: Any, tokenizer: Any, folder: Path) -> Trainer:
    """The trainer of a stage; `folder` has its checkpoints."""
    recipe = stage.recipe
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    config = sft_config(recipe, plan, stage.steps, folder)
    order = stage.order([len(one["input_ids"]) for one in stage.examples])
    return Trainer(
        keep=recipe.checkpoints.keep,
        pad=pad,
        model=model,
        args=config,
        train_dataset=Dataset.from_list(stage.examples).select(order),
        data_collator=Collator(pad),
        processing_class=tokenizer,
    )


def sft_config(recipe: Recipe, plan: Plan, steps: int, folder: Path) -> SFTConfig:
    """Every hyper-parameter, said: no backend's defaults decide over anything."""
    return SFTConfig(
        **arguments(recipe, plan, steps, folder),
        # data
        dataset_kwargs={"skip_prepare_dataset": True},
        shuffle_dataset=False,
        packing=False,
        padding_free=False,
        # what is learned
        completion_only_loss=False,
        assistant_only_loss=False,
        loss_type="nll",
    )
