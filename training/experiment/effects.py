"""Which knob did it: what changing one value does, everything else equal; and what to try next.

Every pair of finished configurations that differ in one knob alone says something of that knob. The effect of
a value is the mean over such pairs, item by item, with an interval over the items' clusters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.intervals import Interval, paired
from training.experiment.decide import FEWEST, Decision, Outcome, parts
from training.experiment.expand import shown
from training.experiment.points import Point

FALLING = 0.01  # share by which a curve's last chunk still lowered the bits per byte: more steps may help
OMITTED = "as the recipe"


@dataclass(frozen=True)
class Effect:
    """Bits per byte that `after` adds in place of `before` (below 0: it is better)."""

    knob: str
    before: Any
    after: Any
    pairs: int
    interval: Interval

    @property
    def is_clear(self) -> bool:
        found = self.interval
        return found.clusters >= FEWEST and (found.low > 0 or found.high < 0)


def effects(outcomes: Sequence[Outcome], knobs: Sequence[str]) -> list[Effect]:
    """The effects of all knobs that had more than one value, each value beside the first."""
    taught = [one for one in outcomes if not one.baseline]
    return [effect for knob in knobs for effect in _of_knob(knob, taught)]


def _of_knob(knob: str, outcomes: Sequence[Outcome]) -> Iterator[Effect]:
    values = _values(knob, outcomes)
    for after in values[1:]:
        found = []
        for one in outcomes:
            if _value(one, knob) != after:
                continue
            twin = next((two for two in outcomes if _differ_in(one, two, knob, values[0])), None)
            if twin:
                found.append(parts(one.test)[0] - parts(twin.test)[0])
        if found:
            _, sizes, clusters = parts(outcomes[0].test)
            gains = np.mean(found, axis=0)
            yield Effect(knob, values[0], after, len(found), paired(clusters, list(gains), list(sizes)))


def _values(knob: str, outcomes: Sequence[Outcome]) -> list[Any]:
    found = list(
        {shown(value): value for one in outcomes if (value := _value(one, knob)) is not None}.values()
    )
    return sorted(found) if all(isinstance(one, int | float) for one in found) else found


def _value(one: Outcome, knob: str) -> Any:
    return one.changes.get(knob, OMITTED)


def _differ_in(one: Outcome, other: Outcome, knob: str, value: Any) -> bool:
    """Whether the other has `value` there, and everything else is the same."""
    if one is other or _value(other, knob) != value:
        return False
    keys = {*one.changes, *other.changes} - {knob}
    return all(_value(one, key) == _value(other, key) for key in keys)


def suggestions(
    decision: Decision, outcomes: Sequence[Outcome], knobs: Sequence[str], curve: Sequence[Point]
) -> list[str]:
    """What the numbers say to try next; `curve`: the chosen configuration's development points."""
    found = list(_from_edges(decision.chosen, outcomes, knobs))
    if len(curve) > 1 and curve[-1].bits_per_byte < curve[-2].bits_per_byte * (1 - FALLING):
        share = 1 - curve[-1].bits_per_byte / curve[-2].bits_per_byte
        found.append(
            f"The curve of {decision.chosen.name} still fell by {share:.1%} in its last chunk: more steps."
        )
    if close := decision.not_told_apart:
        widest = max(decision.differences[name].detectable for name in close)
        found.append(
            f"{', '.join(close)} could not be told apart from {decision.chosen.name}: with these test rows a "
            f"difference of {widest:.4f} bits per byte would show in 80 of 100 cases. For half of that, four "
            "times as many test rows."
        )
    return found or ["The best values lie inside what was tried, and the curves are flat: try other data."]


def _from_edges(chosen: Outcome, outcomes: Sequence[Outcome], knobs: Sequence[str]) -> Iterator[str]:
    """A best value at the end of what was tried says that the best may lie beyond."""
    for knob in knobs:
        values = _values(knob, [one for one in outcomes if not one.baseline])
        numeric = len(values) > 1 and all(isinstance(one, int | float) for one in values)
        value = _value(chosen, knob)
        if numeric and value in (values[0], values[-1]):
            further = value / 2 if value == values[0] else value * 2
            edge = "lowest" if value == values[0] else "highest"
            whole = max(1, int(further)) if isinstance(value, int) else further
            if whole != value:
                yield f"{knob} {shown(value)} is the {edge} tried and did best: also try {shown(whole)}."
