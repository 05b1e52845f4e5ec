"""Two models on the same items: differences with intervals, and which items were fixed or broken."""

import math
from collections.abc import Sequence
from typing import Any

from training.evaluation.intervals import Interval, paired
from training.evaluation.scores import BITS, LOWER_IS_BETTER, METRICS, Scored

FIXED, STILL_WRONG, BROKEN, STILL_RIGHT = "fixed", "still_wrong", "newly_broken", "still_right"
CHANGES = (FIXED, STILL_WRONG, BROKEN, STILL_RIGHT)
Pair = tuple[Scored, Scored]
"""An item as the baseline and as the model answered it, in this order."""


def difference(pairs: Sequence[Pair], metric: str) -> Interval | None:
    """The model's metric less the baseline's; None where no item has it on both sides."""
    rows = _rows(pairs, metric)
    if not rows:
        return None
    clusters, before, after, weights = zip(*rows, strict=True)
    return paired(clusters, [new - old for old, new in zip(before, after, strict=True)], weights)


def gain(pairs: Sequence[Pair], metric: str) -> Interval | None:
    """The difference in the direction that is better: above 0 the model is ahead."""
    found = difference(pairs, metric)
    return _turned(found) if found and metric in LOWER_IS_BETTER else found


def relative_bits(pairs: Sequence[Pair]) -> Interval | None:
    """By what share the model needs more bits per byte than the baseline; None where one was not measured."""
    rows = [row for row in _rows(pairs, BITS) if row[1] > 0]
    if not rows:
        return None
    clusters, before, after, _ = zip(*rows, strict=True)
    return paired(clusters, [new - old for old, new in zip(before, after, strict=True)], before)


def differences(pairs: Sequence[Pair]) -> dict[str, Interval]:
    """The difference in every metric that the items have."""
    return {metric: found for metric in METRICS if (found := difference(pairs, metric))}


def change(pair: Pair) -> str:
    """What became of an item that can be right or wrong; empty for one that cannot."""
    before, after = pair[0].right, pair[1].right
    if before is None or after is None:
        return ""
    return {(0, 1): FIXED, (0, 0): STILL_WRONG, (1, 0): BROKEN, (1, 1): STILL_RIGHT}[int(before), int(after)]


def changes(pairs: Sequence[Pair]) -> dict[str, int]:
    """How many items were fixed, stayed wrong, broke, stayed right."""
    found = [change(pair) for pair in pairs]
    return {name: found.count(name) for name in CHANGES}


def most_changed(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """The items that changed most: broken ones first, then fixed ones, then by ROUGE-L, then by bits."""
    differing = [pair for pair in pairs if _texts_differ(pair)]
    return sorted(differing, key=_movement, reverse=True)[:most]


def as_json(interval: Interval) -> dict[str, Any]:
    """An interval as cards hold it; an endless bound is null."""
    return {
        "value": interval.value,
        "low": _finite(interval.low),
        "high": _finite(interval.high),
        "items": interval.items,
        "clusters": interval.clusters,
        "changed_clusters": interval.changed,
        "detectable": _finite(interval.detectable) if interval.changed else None,
    }


def _rows(pairs: Sequence[Pair], metric: str) -> list[tuple[str, float, float, float]]:
    """Cluster, the baseline's part, the model's part and their weight, of each item that has the metric."""
    rows = []
    for before, after in pairs:
        old, new = before.parts(metric), after.parts(metric)
        if old and new:
            rows.append((before.item.cluster, old[0], new[0], new[1]))
    return rows


def _turned(found: Interval) -> Interval:
    return Interval(
        -found.value, -found.high, -found.low, found.error, found.items, found.clusters, found.changed
    )


def _texts_differ(pair: Pair) -> bool:
    before, after = pair[0].answer, pair[1].answer
    return before is not None and after is not None and before.text != after.text


def _movement(pair: Pair) -> tuple[int, float, float]:
    """How far an item moved, for sorting; equal ones keep their order."""
    weight = {BROKEN: 2, FIXED: 1}.get(change(pair), 0)
    before, after = pair
    overlap = abs((after.rougeL or 0.0) - (before.rougeL or 0.0))
    bits = abs((after.bits or 0.0) - (before.bits or 0.0))
    return weight, overlap, bits


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
