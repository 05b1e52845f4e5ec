"""What became of the rows: plain values for the card, lines for the terminal."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from training.data.example import Example
from training.data.recipe import Form
from training.data.take import Taken


def report(
    form: Form,
    sources: Sequence[Taken],
    declared: Sequence[Taken],
    train: Sequence[Example],
    evaluation: Sequence[Example],
) -> dict[str, Any]:
    """Rows by source, and why rows were left out. `looked_at`: those that the filters saw."""
    learned = Counter(example.source for example in train)
    lengths = [length for one in sources for length in one.lengths] or [0]
    return {
        "form": form,
        "rows": {"train": len(train), "evaluation": len(evaluation)},
        "tokens": {"median": round(median(lengths)), "longest": max(lengths)},
        "sources": [_source(one, learned[one.source.label]) for one in sources],
        "evaluation": [_source(one, 0) for one in declared],
    }


def told(report: Mapping[str, Any]) -> Iterator[str]:
    """The report in lines, one for each source."""
    for source in (*report["sources"], *report["evaluation"]):
        left_out = ", ".join(f"{count:,} {why}" for why, count in source["removed"].items())
        yield (
            f"{source['source']}: {source['read']:,} rows read, {source['train']:,} to learn from, "
            f"{source['evaluation']:,} to compare on" + (f"; left out: {left_out}" if left_out else "")
        )


def _source(one: Taken, learned: int) -> dict[str, Any]:
    removed = one.opened.removed + one.removed
    return {
        "source": one.source.label,
        "read": one.opened.counts["read"],
        "trimmed": one.opened.counts["trimmed"],
        "looked_at": one.looked_at,
        "removed": dict(sorted(removed.items())),
        "train": learned,
        "evaluation": len(one.compared),
    }
