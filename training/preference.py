"""Learning from votes: TRL's trainers for KTO and DPO, told everything, with rows that are tokens already.

The adapter that was taught so far goes on learning; the reference is what the chain started from: the base,
which is the same model with its adapter switched off, or the adapter of an earlier run. Ours are, as for SFT,
the order of the rows, the likelihood of the answers alone on a CPU, and checkpoints that are whole. TRL's are
the losses, the loop and the schedule.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

from training.arguments import arguments
from training.backends import Plan
from training.batches import Collator
from training.loss import can_learn_by_places, token_losses
from training.render import IGNORED
from training.saving import SavesWhole
from training.stage import Example, Stage

FROZEN = "ref"  # TRL's name of the copy that it makes of an adapter, as the reference
NOT_MEASURED = ("entropy", "logits/chosen", "logits/rejected", "mean_token_accuracy")


class _Prefers(SavesWhole):
    """What the two trainers have in common. Stands before a trainer of TRL among the bases of a class."""

    def __init__(self: Any, *, keep: int, **given: Any):
        super().__init__(**given)
        self.tokens = 0
        """Tokens that were read in this process, padding not counted."""
        self.keep = keep
        self.model.delete_adapter(FROZEN)  # without it, TRL's reference is the model with its adapter off
        bare = self.model.get_base_model()
        self._by_places = self.args.device.type == "cpu" and can_learn_by_places(bare)
        if self._by_places:
            bare.forward = MethodType(_reads_answers_alone(bare.forward), bare)

    def refer_to(self: Any, folder: Path) -> None:
        """Takes the adapter in `folder` as the reference, in place of the base."""
        self.model.load_adapter(str(folder), FROZEN, is_trainable=False)
        self.model.train()
        for module in self.model.modules():  # TRL did so before this adapter was there
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0

    def compute_loss(
        self: Any,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        self.tokens += int(inputs["attention_mask"].sum())
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[misc]

    def log(self: Any, logs: dict[str, float], start_time: float | None = None) -> None:
        if self._by_places:
            for name in NOT_MEASURED:
                self._metrics["train"].pop(name, None)
        super().log(logs, start_time)  # type: ignore[misc]

    def _prepare_dataset(self: Any, dataset: Any, *_: Any, **__: Any) -> Any:
        """As it is: rows are tokens, prompts in the ids of serving, the longest checked."""
        return dataset


class KtoTrainer(_Prefers, KTOTrainer):
    """TRL's, with votes that count as much as their reasons do."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        weights, good = inputs.pop("weight"), inputs["label"].bool()
        self.desirable_weight = self.args.desirable_weight * weights[good]
        self.undesirable_weight = self.args.undesirable_weight * weights[~good]
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


class DpoTrainer(_Prefers, DPOTrainer):
    """TRL's."""


def make_trainer(stage: Stage, plan: Plan, model: Any, tokenizer: Any, folder: Path) -> Any:
    """The trainer of a stage, whose method is kto or dpo; `folder` has its checkpoints."""
    recipe, examples = stage.recipe, stage.examples
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    lengths = [max(len(one["input_ids"]), len(one.get("rejected_ids", ()))) for one in examples]
    config = (kto_config if stage.method == "kto" else dpo_config)(stage, plan, folder)
    order = stage.order(lengths)
    return TRAINERS[stage.method](
        keep=recipe.checkpoints.keep,
        model=model,
        args=config,
        train_dataset=Dataset.from_list(examples).select(order),
        data_collator=COLLATORS[stage.method](pad),
        processing_class=tokenizer,
    )


def kto_config(stage: Stage, plan: Plan, folder: Path) -> KTOConfig:
    """Every hyper-parameter of KTO, said."""
    kto, balance = stage.recipe.kto, stage.balance
    return KTOConfig(
        **arguments(stage.recipe, plan, stage.steps, folder),
        loss_type=kto.loss,
        beta=kto.beta,
        desirable_weight=balance.desirable,
        undesirable_weight=balance.undesirable,
        disable_dropout=True,  # a reference that is computed with other neurons than the model is none
        precompute_ref_log_probs=False,
        sync_ref_model=False,
    )


def dpo_config(stage: Stage, plan: Plan, folder: Path) -> DPOConfig:
    """Every hyper-parameter of DPO, said."""
    dpo = stage.recipe.dpo
    return DPOConfig(
        **arguments(stage.recipe, plan, stage.steps, folder),
        loss_type=list(dpo.loss),
        loss_weights=list(dpo.weights or [1.0] * len(dpo.loss)),
        beta=dpo.beta,
        label_smoothing=dpo.label_smoothing,
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        use_weighting=False,
        padding_free=False,
        disable_dropout=True,
        precompute_ref_log_probs=False,
        sync_ref_model=False,
    )


class VoteCollator:
    """Votes as tensors, and each question once more with the answer to its neighbour's.

    From those mismatched answers KTO estimates how far the model has moved away from its reference at all.
    """

    def __init__(self, pad: int):
        self._whole = Collator(pad)

    def __call__(self, votes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`input_ids`, `attention_mask`, `completion_mask`, the same with `KL_` before, `label`, `weight`."""
        neighbours = [_exchanged(vote, votes[place - 1]) for place, vote in enumerate(votes)]
        mismatched = _masked(self._whole(neighbours))
        return {
            **_masked(self._whole(votes)),
            **{f"KL_{name}": values for name, values in mismatched.items()},
            "label": torch.tensor([vote["label"] for vote in votes]),
            "weight": torch.tensor([vote["weight"] for vote in votes]),
        }


class PairCollator:
    """Pairs as tensors: all the better answers, then all the worse ones."""

    def __init__(self, pad: int):
        self._whole = Collator(pad)

    def __call__(self, pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`input_ids`, `attention_mask` and `completion_mask`, each with twice as many rows as pairs."""
        worse = [{"input_ids": pair["rejected_ids"], "labels": pair["rejected_labels"]} for pair in pairs]
        return _masked(self._whole([*pairs, *worse]))


TRAINERS = {"kto": KtoTrainer, "dpo": DpoTrainer}
COLLATORS = {"kto": VoteCollator, "dpo": PairCollator}


def _exchanged(vote: Mapping[str, Any], other: Mapping[str, Any]) -> Example:
    """The question of one and the answer of another."""
    end, start = _answer_of(vote), _answer_of(other)
    return {name: vote[name][:end] + other[name][start:] for name in ("input_ids", "labels")}


def _answer_of(vote: Mapping[str, Any]) -> int:
    """Where the answer begins."""
    return next(place for place, label in enumerate(vote["labels"]) if label != IGNORED)


def _masked(batch: dict[str, Any]) -> dict[str, Any]:
    """A batch in TRL's words: what is learned as a mask."""
    return {
        "input_ids": batch["input_ids"],
        "attention_mask": batch["attention_mask"],
        "completion_mask": (batch["labels"] != IGNORED).long(),
    }


def _reads_answers_alone(whole: Any) -> Any:
    """A model's `forward` that, asked for likelihoods, computes those of the answers and of nothing else.

    TRL asks for them with `fused_lm_head`, and computes them on a CPU for every token of prompt and padding.
    Padding is on the right, where a causal model does not look: without a mask, attention takes the fast way.
    """

    def forward(self: Any, *given: Any, fused_lm_head: bool = False, **named: Any) -> Any:
        if not fused_lm_head:
            return whole(*given, **named)
        ids, wanted = named["input_ids"], named["labels"][:, 1:]
        hidden = self.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        learned = wanted != IGNORED
        found = -token_losses(hidden[learned], self.get_output_embeddings().weight, wanted[learned])
        likely = found.new_zeros(learned.shape).masked_scatter(learned, found)
        nothing = torch.zeros_like(likely)
        return SimpleNamespace(
            log_probs=likely, entropy=nothing, mean_logits=nothing, is_top1=learned.new_zeros(learned.shape)
        )

    return forward
