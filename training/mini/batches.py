"""Dialogues -> batches: whole dialogues packed into rows of one length, made on the fly, never stored.

The corpus is cut into chapters of a few thousand dialogues, each with a seed of its own, so that a resumed
build starts at its chapter instead of at the beginning. Within a row a token sees its own dialogue only. A
few rows per chapter are long conversations: without them the first prompt of 1,000 tokens would be the
model's first.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch

from training.mini.corpus import Dialogue
from training.mini.recipe import LONGEST, Recipe
from training.mini.tokenizer import Row, RowWriter

Dialogues = Callable[[int], Iterator[Dialogue]]  # seed -> dialogues without end

CHAPTER_SEEDS = 1_000_003  # a prime: chapters of neighbouring seeds never meet


@dataclass(frozen=True)
class Batch:
    """Packed rows: token ids, dialogue number and position of each token, and what is learned where."""

    ids: torch.Tensor
    dialogue: torch.Tensor
    position: torch.Tensor
    learn: torch.Tensor
    is_packed: bool = True
    """False for long conversations, whose shape differs from batch to batch."""

    @property
    def tokens(self) -> int:
        return int((self.dialogue >= 0).sum())


def chapter_batches(
    dialogues: Dialogues, writer: RowWriter, recipe: Recipe, chapter: int, pad: int
) -> list[Batch]:
    """All batches of one chapter, in the order in which they are trained."""
    shuffle = random.Random(recipe.seed * CHAPTER_SEEDS + chapter)
    drawn = list(islice(dialogues(recipe.seed * CHAPTER_SEEDS + chapter), recipe.chapter))
    rows = writer.rows([dialogue.messages for dialogue in drawn])

    short = [row for row in rows if len(row.ids) <= recipe.row_length]
    long = [row for row in rows if recipe.row_length < len(row.ids) <= LONGEST]
    long += _long_conversations(drawn, rows, recipe, shuffle)

    packed = pack(short, recipe.row_length)
    shuffle.shuffle(packed)
    whole = len(packed) // recipe.rows_per_step * recipe.rows_per_step
    batches = [
        to_batch(packed[start : start + recipe.rows_per_step], recipe.row_length, pad)
        for start in range(0, whole, recipe.rows_per_step)
    ]
    batches += _long_batches(long, recipe, pad)
    shuffle.shuffle(batches)
    return batches


def pack(rows: list[Row], length: int) -> list[list[Row]]:
    """First fit, longest first: rows put together so that each group has at most `length` tokens."""
    groups: list[list[Row]] = []
    fitting: list[list[int]] = [[] for _ in range(length + 1)]  # groups by the room left in them
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        size = len(row.ids)
        room = next((room for room in range(size, length + 1) if fitting[room]), None)
        if room is None:
            groups.append([])
            place, room = len(groups) - 1, length
        else:
            place = fitting[room].pop()
        groups[place].append(row)
        fitting[room - size].append(place)
    return groups


def to_batch(groups: list[list[Row]], length: int, pad: int, is_packed: bool = True) -> Batch:
    """Groups of rows as tensors of `length` columns; padding belongs to dialogue -1 and is never learned."""
    shape = (len(groups), length)
    ids, dialogue = torch.full(shape, pad), torch.full(shape, -1)
    position, learn = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool)
    for line, group in enumerate(groups):
        start = 0
        for number, row in enumerate(group):
            end = start + len(row.ids)
            ids[line, start:end] = torch.tensor(row.ids)
            dialogue[line, start:end] = number
            position[line, start:end] = torch.arange(end - start)
            learn[line, start:end] = torch.tensor(row.learn)
            start = end
    return Batch(ids, dialogue, position, learn, is_packed)


def attention_mask(batch: Batch) -> torch.Tensor:
    """What is added to the attention scores: 0 where a token may look, else a number that rules it out."""
    same = batch.dialogue[:, :, None] == batch.dialogue[:, None, :]
    length = batch.ids.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    return torch.zeros(same.shape).masked_fill(~(same & earlier), torch.finfo(torch.bfloat16).min)[:, None]


def _long_conversations(
    drawn: list[Dialogue], rows: list[Row], recipe: Recipe, shuffle: random.Random
) -> list[Row]:
    """Free-standing dialogues one after the other as one conversation, and any dialogue at its end."""
    starters = [row for dialogue, row in zip(drawn, rows, strict=True) if _stands_free(dialogue)]
    endings = [
        row for dialogue, row in zip(drawn, rows, strict=True) if dialogue.messages[0]["role"] == "user"
    ]
    if not starters:
        return []
    made = []
    for _ in range(recipe.long_rows):
        wanted = round(recipe.row_length * (LONGEST / recipe.row_length) ** shuffle.random())
        ending = shuffle.choice(endings)
        ids, learn = list(starters[0].ids[:1]), [False]
        while True:
            row = shuffle.choice(starters)
            if len(ids) + len(row.ids) + len(ending.ids) > wanted:
                break
            ids += row.ids[1:]  # the first token begins a text, and this text has begun
            learn += row.learn[1:]
        made.append(Row(ids + ending.ids[1:], learn + ending.learn[1:]))
    return made


def _stands_free(dialogue: Dialogue) -> bool:
    """One question that mentions nothing which a later question could mean: it may stand before any other."""
    is_fact = (
        dialogue.kind in ("facts", "outdated") and "/" not in dialogue.fact
    )  # of no country, product, ...
    return len(dialogue.messages) == 2 and (is_fact or dialogue.kind in ("small_talk", "outside"))


def _long_batches(rows: list[Row], recipe: Recipe, pad: int) -> list[Batch]:
    """Rows of similar length together, each batch as wide as its longest, at most a step of tokens."""
    budget = recipe.rows_per_step * recipe.row_length
    batches: list[Batch] = []
    waiting: list[Row] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if waiting and len(row.ids) * (len(waiting) + 1) > budget:
            batches.append(to_batch([[row] for row in waiting], len(waiting[-1].ids), pad, is_packed=False))
            waiting = []
        waiting.append(row)
    if waiting:
        batches.append(to_batch([[row] for row in waiting], len(waiting[-1].ids), pad, is_packed=False))
    return batches
