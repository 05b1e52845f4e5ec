"""What is left out for its quality: rows pass one by one, in the order in which they are drawn.

    sieve = Sieve(filters, reading, Seen())
    kept = list(islice(sieve.pass_through(examples), limit))
    sieve.removed                              reason -> how many

Only rows that are looked at cost anything: of 100,000 rows, a run that takes 64 tokenizes about 64.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from feedback.curate.similar import Likeness, Text, normalised
from training.data.example import Example, Message
from training.data.language import language_share
from training.data.recipe import Filters


@dataclass(frozen=True)
class Reading:
    """How the model that is to be trained reads: its control tokens, its tokens, its context."""

    controls: re.Pattern[str]
    count: Callable[[Sequence[Message]], int]
    context: int
    perplexity: Callable[[Example], float] | None = None


@dataclass
class Seen:
    """What was kept so far, over all sources: a row is a duplicate wherever its like stands."""

    words: set[str] = field(default_factory=set)
    near: Likeness = field(default_factory=Likeness)
    place: int = 0


class Sieve:
    """The filters of a recipe; `lengths` are the tokens of what was kept."""

    def __init__(self, filters: Filters, reading: Reading, seen: Seen) -> None:
        self._filters = filters
        self._reading = reading
        self._seen = seen
        self.removed: Counter[str] = Counter()
        self.looked_at = 0
        self.too_long: list[int] = []
        self.lengths: list[int] = []

    def pass_through(self, examples: Iterable[Example]) -> Iterator[Example]:
        """The examples that stay."""
        for example in examples:
            self.looked_at += 1
            reason = self._reason(example)
            if reason:
                self.removed[reason] += 1
            else:
                yield example

    def _reason(self, example: Example) -> str:
        """Why an example goes; the cheap questions first."""
        if any(self._reading.controls.search(text) for text in example.texts):
            return "control_tokens"
        words = _words(example)
        if self._filters.duplicates != "keep" and words in self._seen.words:
            return "duplicate"
        tokens = self._tokens(example)
        if reason := self._length(example, tokens):
            return reason
        if self._is_foreign(example):
            return "language"
        if self._filters.duplicates == "near" and self._is_near(example, words):
            return "near_duplicate"
        if reason := self._surprise(example):
            return reason
        self._seen.words.add(words)
        self.lengths.append(tokens)
        return ""

    def _tokens(self, example: Example) -> int:
        tokens = self._reading.count(example.messages)
        if example.rejected:
            tokens = max(tokens, self._reading.count([*example.prompt, *example.rejected]))
        return tokens

    def _length(self, example: Example, tokens: int) -> str:
        if tokens < self._filters.shortest:
            return "too_short"
        if self._filters.longest and tokens > self._filters.longest:
            return "too_long"
        if tokens > self._reading.context:
            self.too_long.append(example.number)
            return "longer_than_context"
        return ""

    def _is_foreign(self, example: Example) -> bool:
        wanted = self._filters.language
        return (
            bool(wanted) and language_share("\n".join(example.texts), wanted) < self._filters.language_share
        )

    def _is_near(self, example: Example, words: str) -> bool:
        text = Text(words, (example.label, len(example.messages)))
        if next(self._seen.near.near(text), None) is not None:
            return True
        self._seen.near.add(self._seen.place, text)
        self._seen.place += 1
        return False

    def _surprise(self, example: Example) -> str:
        if self._reading.perplexity is None or not self._filters.needs_base:
            return ""
        perplexity = self._reading.perplexity(example)
        if perplexity < self._filters.perplexity_least:
            return "perplexity_low"
        # `not <=` so that an answer that the base cannot rate, which comes out as NaN, goes as well
        if self._filters.perplexity_most and not perplexity <= self._filters.perplexity_most:
            return "perplexity_high"
        return ""


def _words(example: Example) -> str:
    """What must be equal for a duplicate: everything said and by whom, and the label."""
    said = "\n".join(f"{one['role']}: {one['content']}" for one in (*example.messages, *example.rejected))
    return f"{example.label}|{normalised(said)}"
