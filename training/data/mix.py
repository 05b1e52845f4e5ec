"""The mixture: how many rows of each source, and all of them in one order that follows from the seed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice, zip_longest

from backtalk.errors import BacktalkError
from feedback.curate.similar import normalised
from training.data.draw import numbered
from training.data.example import Example
from training.data.recipe import Data, Source


def most_wanted(source: Source, data: Data) -> int | None:
    """The rows of a source beyond which none is of use; None: all are."""
    limits = [source.limit] if source.limit else []
    if data.rows and source.share is not None:
        limits.append(-(-_whole(data.rows * source.share) // source.repeat) + 1)
    return min(limits, default=None)


def mix(parts: Sequence[tuple[Source, list[Example]]], data: Data, seed: int) -> list[Example]:
    """Rows of all sources in the shares of the recipe.

    Raises BacktalkError where `rows` and the shares ask for more than there is.
    """
    wanted = _wanted(parts, data)
    mixture = [
        example
        for (source, examples), rows in zip(parts, wanted, strict=True)
        for example in islice(_in_turn(source, examples), rows)
    ]
    mixture = [example for example, _ in sorted(numbered(mixture), key=lambda entry: _place(seed, *entry))]
    if data.rows and not any(source.share for source, _ in parts):
        return mixture[: data.rows]
    return mixture


def _in_turn(source: Source, examples: Sequence[Example]) -> Iterator[Example]:
    """All rows as often as the source may give them, none again before each has come.

    With `balance` the answers take turns: where not all rows are taken, none is said by few of them.
    """
    yield from _by_answer(examples) if source.balance else examples
    for _ in range(source.repeat - 1):
        yield from examples


def _by_answer(examples: Sequence[Example]) -> list[Example]:
    """The first row of each answer, then the second of each that has one, and so on."""
    answers: defaultdict[tuple[str, bool | None], list[Example]] = defaultdict(list)
    for example in examples:
        answers[normalised(example.completion[-1]["content"]), example.label].append(example)
    return [example for turn in zip_longest(*answers.values()) for example in turn if example]


def _wanted(parts: Sequence[tuple[Source, list[Example]]], data: Data) -> list[int]:
    there = [len(examples) * source.repeat for source, examples in parts]
    shares = [source.share for source, _ in parts]
    total = sum(share for share in shares if share)
    if not total:
        return there
    relative = [(share or 0) / total for share in shares]  # a source without rows for this form is not there
    rows = data.rows or min(
        int(have / share + 1e-9) for have, share in zip(there, relative, strict=True) if share
    )
    wanted = _rounded([rows * share for share in relative])
    for (source, _), have, want in zip(parts, there, wanted, strict=True):
        if want > have:
            raise BacktalkError(
                f"{source.label} should give {want:,} of {rows:,} rows, and it has {have:,}. Lower data.rows "
                "or its share, or let its rows come again with repeat."
            )
    return wanted


def _rounded(numbers: list[float]) -> list[int]:
    """Whole numbers with the same sum, the largest remainders rounded up."""
    whole = [int(number + 1e-9) for number in numbers]
    missing = round(sum(numbers)) - sum(whole)
    for place in sorted(range(len(numbers)), key=lambda place: whole[place] - numbers[place])[:missing]:
        whole[place] += 1
    return whole


def _whole(number: float) -> int:
    return int(number) + (number > int(number))


def _place(seed: int, example: Example, copy: int) -> str:
    return sha256(f"{seed}|order|{example.id}|{copy}".encode()).hexdigest()
