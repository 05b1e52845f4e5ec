"""One method of a chain with what it learns from; what cannot be learned from is left out with its reason.

stage = read_stage(recipe.of("kto"), Reading(renderer, longest=1024, offline=True))
stage.examples, stage.steps, stage.left_out
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from training.batches import example, examples
from training.data.load import Loaded, load
from training.data.report import told
from training.order import order_of, steps_of
from training.recipe import Method, Recipe
from training.render import Renderer, Row, render_all
from training.votes import Balance, Pair, Vote, balance, caution, one_sided, too_few

Example = dict[str, Any]
WHAT = {"sft": "rows", "kto": "labelled answers", "dpo": "pairs of answers"}


@dataclass(frozen=True)
class Stage:
    """`recipe` is as this step of the chain has it: with its own rate, length and batches."""

    recipe: Recipe
    loaded: Loaded
    rows: list[Row]
    votes: list[Vote]
    pairs: list[Pair]
    left_out: str = ""
    first: int = 0
    """Steps that were taken elsewhere before: whoever goes on from their weights passes over their rows."""

    @property
    def method(self) -> Method:
        return self.recipe.methods[0]

    @property
    def count(self) -> int:
        """Rows, votes or pairs."""
        return len(self.rows or self.votes or self.pairs)

    @property
    def learned(self) -> int:
        """Tokens that the model has to predict in an epoch; of pairs those of both answers."""
        rows = self.rows + [vote.row for vote in self.votes]
        rows += [row for pair in self.pairs for row in (pair.better, pair.worse)]
        return sum(row.learned for row in rows)

    @property
    def balance(self) -> Balance:
        """Of the votes."""
        return balance(self.votes, self.recipe.kto)

    @cached_property
    def examples(self) -> list[Example]:
        """What the trainer takes."""
        if self.method == "kto":
            return [{**example(vote.row), "label": vote.good, "weight": vote.weight} for vote in self.votes]
        if self.method == "dpo":
            return [_pair(pair) for pair in self.pairs]
        return examples(self.rows, self.recipe.batch)

    @cached_property
    def steps(self) -> int:
        """Optimiser steps, those before `first` not counted; none where the stage is left out."""
        schedule = self.recipe.schedule
        if self.left_out:
            return 0
        whole = steps_of(len(self.examples), schedule.steps, schedule.epochs, self._rows_per_step)
        return max(0, whole - self.first)

    def order(self, lengths: Sequence[int]) -> list[int]:
        """The places of the rows that the steps see, one after the other; `lengths`: tokens of each row."""
        batch, rows = self.recipe.batch, self._rows_per_step
        batches = (self.first + self.steps) * rows // batch.size
        return order_of(lengths, batches, batch.size, self.recipe.seed, batch.buckets)[self.first * rows :]

    @property
    def _rows_per_step(self) -> int:
        batch = self.recipe.batch
        processes = int(os.environ.get("WORLD_SIZE", "1"))  # of `accelerate launch`
        return batch.size * batch.accumulation * processes

    @cached_property
    def tokens_at_once(self) -> float:
        """Of a batch, on average and without padding."""
        whole = sum(len(one["input_ids"]) for one in self.examples)
        return self.recipe.batch.size * whole / len(self.examples)

    @property
    def width(self) -> int:
        """Tokens of the longest example."""
        return max(len(one.get(name, ())) for one in self.examples for name in ("input_ids", "rejected_ids"))

    def told(self) -> list[str]:
        """What became of the rows, and how they are used."""
        method, size = self.method, self.recipe.batch.size
        if method == "sft":
            return list(self.loaded.told())
        lines = [*self.loaded.notes, *(f"{method}: {line}" for line in _of_use(self.loaded.report))]
        if self.left_out:
            return [*lines, f"{method} is left out: {self.left_out}."]
        how = f"shuffled by the seed, {size} at once; the reference is {self.recipe.start or 'the base'}"
        if method == "dpo":
            return [*lines, f"dpo: {self.count:,} pairs, loss {' and '.join(self.recipe.dpo.loss)}, {how}"]
        small = "; 4 at once would estimate the distance to the base better" if size < 4 else ""
        lines.append(f"kto: {self.balance.told()}, {how}{small}")
        if careful := caution(self.balance):
            lines.append(f"kto: {careful}")
        return lines


@dataclass(frozen=True)
class Reading:
    """With what every stage of a run is read. `longest`: most tokens of a row; `perplexity`: of an answer."""

    renderer: Renderer
    longest: int
    offline: bool
    perplexity: Callable[[Any], float] | None = None
    progress: Callable[[str], None] = lambda text: None


def read_stage(recipe: Recipe, reading: Reading) -> Stage:
    """What one method learns from; `recipe` is as its step has it. Raises BacktalkError."""
    method, renderer = recipe.methods[0], reading.renderer
    # How many rows a mixture has is said for sft; of votes all are wanted.
    data = recipe.data if method == "sft" else replace(recipe.data, rows=0)
    loaded = load(
        data,
        renderer.template,
        controls=renderer.controls,
        context=reading.longest,
        seed=recipe.seed,
        form=method,
        offline=reading.offline,
        perplexity=reading.perplexity,
        progress=reading.progress,
        may_be_empty=method != "sft",
    )
    stage = _rendered(recipe, renderer, loaded, reading.longest)
    return replace(stage, left_out=_why_not(stage))


def _rendered(recipe: Recipe, renderer: Renderer, loaded: Loaded, longest: int) -> Stage:
    method, given = recipe.methods[0], list(loaded.train)
    if method == "sft":
        return Stage(recipe, loaded, render_all(renderer, given, longest), [], [])
    if not given:
        return Stage(recipe, loaded, [], [], [])
    if method == "kto":
        rows = render_all(renderer, given, longest)
        votes = [Vote(row, one["label"], one["weight"]) for row, one in zip(rows, given, strict=True)]
        return Stage(recipe, loaded, [], votes, [])
    answers = (
        render_all(renderer, [{"prompt": one["prompt"], "completion": one[name]} for one in given], longest)
        for name in ("chosen", "rejected")
    )
    return Stage(recipe, loaded, [], [], [Pair(*both) for both in zip(*answers, strict=True)])


def _why_not(stage: Stage) -> str:
    """Why nothing is learned from what there is; empty where it is enough."""
    if stage.method == "sft":
        return ""
    own = stage.recipe.kto if stage.method == "kto" else stage.recipe.dpo
    fewest = max(own.fewest, own.size)  # with fewer than a batch, an answer would be measured against itself
    return too_few(stage.count, fewest, WHAT[stage.method]) or (one_sided(stage.votes) if stage.votes else "")


def _of_use(report: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the sources that have something for this method."""
    sources = [source for source in report["sources"] if source["train"] or source["evaluation"]]
    return told({"sources": sources, "evaluation": []})


def _pair(pair: Pair) -> Example:
    worse = example(pair.worse)
    return {**example(pair.better), "rejected_ids": worse["input_ids"], "rejected_labels": worse["labels"]}
