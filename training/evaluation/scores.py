"""What an answer is worth, item by item, and what a model comes to on a part of the items."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.evaluation.items import GENERAL, Item
from training.evaluation.overlap import NAMES, overlap

RIGHT, EXACT, BITS = "right", "exact", "bits_per_byte"
METRICS = (RIGHT, EXACT, *NAMES, BITS)
LOWER_IS_BETTER = {BITS}


@dataclass(frozen=True)
class Answer:
    """What a model said. `ended` is False where the longest answer that was allowed cut it off."""

    text: str
    tokens: int
    ended: bool
    dropped_turns: int = 0
    """Earlier turns that did not fit into the context."""


@dataclass(frozen=True)
class Scored:
    """One item with what one model made of it; None where the item does not define a thing."""

    item: Item
    answer: Answer | None
    bits: float | None
    """Bits that the reference costs under the model, special tokens left out."""
    right: float | None = None
    exact: float | None = None
    rouge1: float | None = None
    rouge2: float | None = None
    rougeL: float | None = None

    @property
    def bytes(self) -> int:
        return len(self.item.reference.encode("utf-8", "replace"))

    def parts(self, metric: str) -> tuple[float, float] | None:
        """What the item adds to a metric, above and below the line; None where it says nothing of it."""
        if metric == BITS:
            return (self.bits, self.bytes) if self.bits is not None and self.bytes else None
        value = getattr(self, metric)
        return None if value is None else (value, 1.0)


def score(item: Item, answer: Answer | None, bits: float | None) -> Scored:
    """The scores of one answer; text of the general part has none but its bits."""
    if answer is None:
        return Scored(item, None, bits)
    return Scored(
        item,
        answer,
        bits,
        right=float(item.is_right(answer.text)) if item.checked else None,
        exact=float(item.is_exact(answer.text)) if item.exact else None,
        **(overlap(item.reference, answer.text) if item.reference else {}),
    )


def is_asked(item: Item) -> bool:
    """Whether the model is to answer: general text is only read."""
    return bool(item.messages) and item.part != GENERAL


def summary(scored: Sequence[Scored]) -> dict[str, Any]:
    """A model's numbers on some items. Lengths are in words, which mean the same for every tokenizer."""
    answered = [(one, one.answer) for one in scored if one.answer is not None]
    compared = [(one, answer) for one, answer in answered if one.item.reference]
    written = sum(len(answer.text.split()) for _, answer in compared)
    wanted = sum(len(one.item.reference.split()) for one, _ in compared)
    numbers: dict[str, Any] = {"items": len(scored), "answered": len(answered)}
    for metric in METRICS:
        numbers[metric] = mean(scored, metric)
    return numbers | {
        "checked": sum(one.right is not None for one in scored),
        "words": _ratio(sum(len(answer.text.split()) for _, answer in answered), len(answered)),
        "tokens": _ratio(sum(answer.tokens for _, answer in answered), len(answered)),
        "length_ratio": _ratio(written, wanted),
        "empty": sum(not answer.text.strip() for _, answer in answered),
        "truncated": sum(not answer.ended for _, answer in answered),
        "dropped_turns": sum(answer.dropped_turns for _, answer in answered),
        "reference_bytes": sum(one.bytes for one in scored if one.bits is not None),
    }


def mean(scored: Sequence[Scored], metric: str) -> float | None:
    """A metric over some items: bits per byte by their sums, everything else by items."""
    parts = [part for one in scored if (part := one.parts(metric))]
    return _ratio(math.fsum(above for above, _ in parts), sum(below for _, below in parts))


def as_json(one: Scored) -> Mapping[str, Any]:
    """What items.jsonl holds of one model's answer."""
    answer = one.answer
    said = {"answer": answer.text, "tokens": answer.tokens, "ended": answer.ended} if answer else {}
    return {
        **said,
        **{name: value for name in METRICS if name != BITS and (value := getattr(one, name)) is not None},
        **({"bits": round(one.bits, 4)} if one.bits is not None else {}),
    }


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None
