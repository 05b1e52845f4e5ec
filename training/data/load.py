"""The data of a run, told in order: open, divide, take, mix.

    loaded = load(recipe.data, template, controls=names, context=2048, seed=1, form="sft", offline=True)
    loaded.train, loaded.evaluation            datasets.Dataset, see form.py
    loaded.report, loaded.inputs               for the card; loaded.told() for the terminal

The same recipe, seed and inputs give the same rows in the same order. Nothing is written, but the cache of
what the Hub sent. Every fault is one sentence with the numbers of the rows.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from backtalk.errors import BacktalkError, WordsError
from backtalk.prompt import Template
from feedback.curate import controls as control_tokens
from training.data.divide import divide
from training.data.example import Example
from training.data.form import as_dataset
from training.data.mix import mix
from training.data.open import open_source
from training.data.recipe import Data, Form, Source
from training.data.report import report, told
from training.data.sieve import Reading
from training.data.take import Taken, Taking


@dataclass(frozen=True)
class Loaded:
    """What a run learns from and is compared on, and what its card says of both."""

    train: Any
    evaluation: Any
    report: dict[str, Any]
    inputs: list[dict[str, Any]]
    notes: list[str]

    def told(self) -> Iterator[str]:
        """The notes and the report in lines."""
        yield from self.notes
        yield from told(self.report)


def load(
    data: Data,
    template: Template,
    *,
    controls: Collection[str],
    context: int,
    seed: int,
    form: Form = "sft",
    offline: bool = False,
    perplexity: Callable[[Example], float] | None = None,
    progress: Callable[[str], None] = lambda text: None,
    may_be_empty: bool = False,
) -> Loaded:
    """The rows of a recipe's data, as `form` wants them.

    `template` and `controls` (the added tokens) are those of the model that is trained, `context` the most
    tokens of a row; `perplexity` rates an example under the base model, where the filters want it. `progress`
    is told where the work stands; with `may_be_empty` it is no fault that no row is left. Raises WordsError,
    NetworkError and BacktalkError, each one sentence.
    """
    _check(data, context, perplexity is not None)
    names = [name for name in controls if name.strip()]  # a tokenizer may add runs of spaces as tokens
    reading = Reading(
        control_tokens.pattern(names),
        lambda messages: len(template.tokens(messages, generate=False)),
        context,
        perplexity,
    )

    def opened(source: Source, evaluates: bool) -> Taken:
        progress(f"Reading {source.label}")
        return Taken(open_source(source, data, form, offline, evaluates))

    declared = [opened(source, True) for source in data.evaluation]
    sources = [opened(source, False) for source in data.sources]
    for one in sources:
        share = 0.0 if one.opened.divided else data.eval_share
        one.opened.examples, one.held_out = divide(one.opened.examples, share, seed)

    taking = Taking(data, reading, seed, progress)
    evaluation = taking.evaluation(declared, sources)
    parts = taking.training(sources)
    taking.refuse_faults()
    train = mix(parts, data, seed)
    if not train and not may_be_empty:
        raise BacktalkError(_nothing_left(sources, form))

    everything = [one.opened for one in (*sources, *declared)]
    return Loaded(
        as_dataset(train, form),
        as_dataset(evaluation, form),
        report(form, sources, declared, train, evaluation),
        [entry for one in everything for entry in one.inputs],
        list(dict.fromkeys(note for one in everything for note in one.notes)),
    )


def _check(data: Data, context: int, rated: bool) -> None:
    if not data.sources:
        raise WordsError("The recipe names no data. Give it some, as in data: {sources: [finetome]}")
    if data.filters.longest > context:
        raise WordsError(
            f"'data.filters.longest' is {data.filters.longest}, and a row may have {context} tokens at most."
        )
    if data.filters.needs_base and not rated:
        raise WordsError("The filter by perplexity needs the base model, which is not loaded here.")


def _nothing_left(sources: Sequence[Taken], form: Form) -> str:
    read = sum(one.opened.counts["read"] for one in sources)
    removed: Counter[str] = Counter()
    for one in sources:
        removed += one.opened.removed + one.removed
        removed["held out"] += len(one.held_out)
    told = ", ".join(f"{count:,} {why}" for why, count in removed.most_common() if count)
    why = f": {told}" if told else f", since no source has any for {form.upper()}"
    return f"Of {read:,} rows none is left to learn from{why}. Change the sources or loosen the filters."
