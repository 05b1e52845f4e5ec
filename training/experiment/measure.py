"""Bits per byte of right answers, quickly: rows are made tokens once, and read by all configurations.

    rows = Rows(items, renderer)
    bits = rows.bits(model)            of each item's answer, in the order of the items

As in training, rows are padded on the right and only the answers go through the output matrix. The tokens
that end an answer are not counted, as in `backtalk evaluate`, so that tokenizers can be compared.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer

from training.base import Base
from training.batches import Collator
from training.evaluation.items import Item
from training.loss import can_learn_by_places, token_losses
from training.machine import Kind, device
from training.render import IGNORED, Renderer

TOKENS_AT_ONCE: dict[Kind, int] = {"cpu": 512, "cuda": 2048, "mps": 2048}
"""Of a batch, padding included: about what a step of training takes, so that no peak is added; a processor
reads few at once as fast as many."""

Batch = tuple[list[int], torch.Tensor, torch.Tensor]
"""Places among the items, ids and labels, both (rows, width)."""


class Rows:
    """The rows of one side as one base reads them."""

    def __init__(self, items: Sequence[Item], renderer: Renderer, base: Base) -> None:
        self._batches = list(_batches(items, renderer, _special(base)))
        self._count = len(items)

    def bits(self, model: Any) -> list[float]:
        """What each answer costs under the model, which is left in the mode that it was in."""
        bare = model.get_base_model() if hasattr(model, "get_base_model") else model
        was_training, found = bare.training, [0.0] * self._count
        bare.eval()
        with torch.no_grad():
            for places, ids, labels in self._batches:
                losses = _losses(bare, ids.to(bare.device), labels.to(bare.device))
                for place, loss in zip(places, losses.double().sum(dim=1).tolist(), strict=True):
                    found[place] = loss / math.log(2)
        bare.train(was_training)
        return found


def _losses(bare: Any, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Nats of each label, 0 where none is learned: (rows, width - 1)."""
    wanted = labels[:, 1:] != IGNORED
    losses = torch.zeros(wanted.shape, device=ids.device)
    if can_learn_by_places(bare):
        hidden = bare.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][wanted]
        weight = bare.get_output_embeddings().weight
        losses[wanted] = token_losses(hidden, weight, labels[:, 1:][wanted])
    else:
        logits = bare(input_ids=ids, use_cache=False).logits[:, :-1][wanted].float()
        losses[wanted] = torch.nn.functional.cross_entropy(logits, labels[:, 1:][wanted], reduction="none")
    return losses


def _batches(items: Sequence[Item], renderer: Renderer, special: frozenset[int]) -> Iterator[Batch]:
    """Items of like length together, the longest first: if memory is short, that shows at once."""
    rows = [_row(item, renderer, special) for item in items]
    order = sorted(range(len(rows)), key=lambda place: -len(rows[place]["input_ids"]))
    while order:
        width = len(rows[order[0]]["input_ids"])
        count = max(1, TOKENS_AT_ONCE[device()] // width)
        places, order = order[:count], order[count:]
        batch = Collator(0)([rows[place] for place in places])
        yield places, batch["input_ids"], batch["labels"]


def _row(item: Item, renderer: Renderer, special: frozenset[int]) -> dict[str, list[int]]:
    answer = {"role": "assistant", "content": item.reference}
    row = renderer.row({"prompt": list(item.messages), "completion": [answer]})
    labels = [IGNORED if label in special else label for label in row.labels]
    return {"input_ids": row.ids, "labels": labels}


def _special(base: Base) -> frozenset[int]:
    added = Tokenizer.from_file(str(base.folder / "tokenizer.json")).get_added_tokens_decoder()
    return frozenset(number for number, token in added.items() if token.special)
