"""Rows -> tensors: padded on the right, or packed into rows of one length.

A causal model never looks to the right, so padding there needs no mask; packed conversations are told apart
by their positions, which begin again with each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from training.recipe import Batch
from training.render import IGNORED, Row

Example = dict[str, list[int]]


def examples(rows: Sequence[Row], batch: Batch) -> list[Example]:
    """What a step is made of: a row each, or rows that were packed to `max_length`."""
    if not batch.packing:
        return [example(row) for row in rows]
    groups = pack(rows, range(len(rows)), batch.max_length)
    return [packed_example([rows[place] for place in group]) for group in groups]


def pack(rows: Sequence[Row], order: Sequence[int], length: int) -> list[list[int]]:
    """Places of rows put together so that each group has at most `length` tokens: first fit, longest first.

    `order` decides between rows of equal length, so that the seed decides which meet.
    """
    groups: list[list[int]] = []
    room: list[list[int]] = [[] for _ in range(length + 1)]  # groups by the tokens that still fit
    for place in sorted(order, key=lambda place: -len(rows[place].ids)):
        size = len(rows[place].ids)
        left = next((left for left in range(size, length + 1) if room[left]), None)
        if left is None:
            groups.append([])
            group, left = len(groups) - 1, length
        else:
            group = room[left].pop()
        groups[group].append(place)
        room[left - size].append(group)
    return groups


def packed_example(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Several conversations as one example; the first token of each is nobody's to predict."""
    labels = [label for row in rows for label in (IGNORED, *row.labels[1:])]
    return {
        "input_ids": [token for row in rows for token in row.ids],
        "labels": labels,
        "position_ids": [place for row in rows for place in range(len(row.ids))],
    }


def example(row: Row) -> dict[str, list[int]]:
    """One conversation as an example."""
    return {"input_ids": row.ids, "labels": row.labels}


class Collator:
    """Examples of a batch as tensors of one width."""

    def __init__(self, pad: int):
        self._pad = pad

    def __call__(self, examples: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Any]:
        """`input_ids`, `labels`, and `attention_mask`, or for packed examples `position_ids`."""
        width = max(len(one["input_ids"]) for one in examples)
        batch = {
            "input_ids": _filled(examples, "input_ids", width, self._pad),
            "labels": _filled(examples, "labels", width, IGNORED),
        }
        if "position_ids" in examples[0]:
            return batch | {"position_ids": _positions(examples, width)}
        lengths = torch.tensor([len(one["input_ids"]) for one in examples])
        return batch | {"attention_mask": (torch.arange(width)[None] < lengths[:, None]).long()}


def _filled(
    examples: Sequence[Mapping[str, Sequence[int]]], name: str, width: int, filler: int
) -> torch.Tensor:
    return torch.tensor([[*one[name], *[filler] * (width - len(one[name]))] for one in examples])


def _positions(examples: Sequence[Mapping[str, Sequence[int]]], width: int) -> torch.Tensor:
    """Padding counts on from 0 as one more conversation, which none of the others sees."""
    return torch.tensor(
        [[*one["position_ids"], *range(width - len(one["position_ids"]))] for one in examples]
    )
