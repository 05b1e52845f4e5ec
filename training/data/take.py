"""Which rows of the opened sources are taken: those to compare on first, since they are never learned.

taking = Taking(data, reading, seed)
evaluation = taking.evaluation(declared, sources)
parts = taking.training(sources)           for the mixture
taking.refuse_faults()
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from backtalk.errors import BacktalkError
from training.data.draw import draw
from training.data.example import Example
from training.data.leaks import HeldOut, Leak, refuse_leaks
from training.data.mix import most_wanted
from training.data.open import Opened, rows_named
from training.data.recipe import Data, Filters, Source
from training.data.sieve import Reading, Seen, Sieve


@dataclass
class Taken:
    """One source on its way: what it gives to either side, and what became of the rest."""

    opened: Opened
    held_out: list[Example] = field(default_factory=list)
    learned: list[Example] = field(default_factory=list)
    compared: list[Example] = field(default_factory=list)
    removed: Counter[str] = field(default_factory=Counter)
    looked_at: int = 0
    too_long: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    @property
    def source(self) -> Source:
        return self.opened.source


class Taking:
    """The two passes over the sources, and the prompts that lie between them."""

    def __init__(
        self, data: Data, reading: Reading, seed: int, progress: Callable[[str], None] = lambda text: None
    ) -> None:
        self._data = data
        self._reading = reading
        self._seed = seed
        self._progress = progress
        self._declared = (
            HeldOut()
        )  # by the recipe or by a curated set: a training row that asks it is an error
        self._own = HeldOut()  # by this run's own split: such a training row is left out and counted
        self._leaks: list[Leak] = []
        self._too_long: list[Taken] = []

    def evaluation(self, declared: Sequence[Taken], sources: Sequence[Taken]) -> list[Example]:
        """The rows to compare on; what they ask is held out from now on."""
        seen, most = Seen(), self._data.eval_limit
        for one in declared:
            limit = min((limit for limit in (one.source.limit, most) if limit), default=None)
            one.compared = self._pass(one, one.opened.examples, seen, limit, _gentle(self._data.filters))
            _hold_out(self._declared, one, one.compared)
        for one in sources:
            known = self._pass(one, one.opened.evaluation, seen, most or None, _gentle(self._data.filters))
            _hold_out(self._declared, one, known)
            own = self._pass(one, one.held_out, seen, most or None, _gentle(self._data.filters))
            for example in own:
                _add(self._own, example)
            one.compared = known + own
        return [example for one in (*declared, *sources) for example in one.compared]

    def training(self, sources: Sequence[Taken]) -> list[tuple[Source, list[Example]]]:
        """The rows to learn from, source by source, in the order in which they are drawn."""
        active = [one for one in sources if one.opened.examples]
        total = sum(one.source.share or 0 for one in active)
        seen = Seen()
        parts = []
        for one in active:
            source = one.source
            if (
                source.share is not None
            ):  # a source without rows for this method leaves its part to the others
                source = replace(source, share=min(1.0, source.share / total))
            most = most_wanted(source, self._data)
            one.learned = self._pass(
                one, one.opened.examples, seen, most, self._data.filters, self._without_leaks
            )
            parts.append((source, one.learned))
        return parts

    def refuse_faults(self) -> None:
        """Raises where rows leak or are longer than the context."""
        refuse_leaks(self._leaks)
        if not self._too_long:
            return
        told = "; ".join(f"{one.source.label}, {rows_named(sorted(one.too_long))}" for one in self._too_long)
        context = self._reading.context
        raise BacktalkError(
            f"These rows are longer than the {context:,} tokens that a row may have: {told}. Leave them out "
            f"with data.filters.longest: {context}, or raise the recipe's max_length."
        )

    def _pass(
        self,
        one: Taken,
        examples: Iterable[Example],
        seen: Seen,
        most: int | None,
        filters: Filters,
        before: Callable[[Taken, Iterable[Example]], Iterable[Example]] = lambda one, examples: examples,
    ) -> list[Example]:
        """The first `most` examples that pass, drawn by the seed."""
        sieve = Sieve(filters, self._reading, seen)
        kept: list[Example] = []
        for example in islice(sieve.pass_through(before(one, draw(examples, self._seed))), most):
            kept.append(example)
            self._progress(f"{one.source.label}: {len(kept):,} rows")
        one.removed += sieve.removed
        one.looked_at += sieve.looked_at
        one.lengths += sieve.lengths
        if sieve.too_long and self._data.faulty == "stop" and not filters.longest:
            one.too_long += sieve.too_long
            self._too_long.append(one)
        return kept

    def _without_leaks(self, one: Taken, examples: Iterable[Example]) -> Iterator[Example]:
        for example in examples:
            if leak := self._declared.leak(example):
                one.removed["leak"] += 1
                if not self._data.drop_leaks:
                    self._leaks.append(leak)
            elif self._own.leak(example):
                one.removed["held_out_question"] += 1
            else:
                yield example


def _hold_out(prompts: HeldOut, one: Taken, examples: Sequence[Example]) -> None:
    for name, prompt in one.opened.held_out:  # first, since an item's own name says more than a row's number
        prompts.add(name, prompt)
    for example in examples:
        _add(prompts, example)


def _add(prompts: HeldOut, example: Example) -> None:
    for asked in example.asked:
        prompts.add(example.place, asked)


def _gentle(filters: Filters) -> Filters:
    """For evaluation: what cannot be read goes, what is hard or unusual stays."""
    return Filters(longest=filters.longest, duplicates="keep" if filters.duplicates == "keep" else "exact")
