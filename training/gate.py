"""The gate: may this model be promoted? PROMOTE, HOLD or REJECT, each with its reasons in words.

PROMOTE  every condition is shown to hold
HOLD     none is shown to be broken, and at least one is open: not enough evidence, or not tested
REJECT   at least one is shown to be broken

The conditions (bounds are those of 95 % intervals, resampled by cluster):

    primary set      lower bound above 0, and at least SIX clusters came out differently
    task test        lower bound above -1 point; not asked where the primary set is the task test
    earlier rounds   lower bound of their items above -1 point; not asked where there are none
                     (of both: where no item changed at all, 300 groups are wanted)
    general text     upper bound of the change in bits per byte at most +2 %
    quantized file   the GGUF is the one that was evaluated, and passed when it was exported

Six, because with fewer even all of them better is no evidence at 95 %: heads five times in a row has a chance
of 3 in 100. Percentiles alone would promote four clusters out of four.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.files import read_json, write_json
from backtalk.models import Model
from training.evaluation.intervals import Interval

NAME = "verdict.json"
PROMOTE, HOLD, REJECT = "PROMOTE", "HOLD", "REJECT"
SHOWN, OPEN, BROKEN = "shown", "open", "broken"
SIX = 6
POINT = 0.01
GENERAL_SHARE = 0.02


@dataclass(frozen=True)
class Condition:
    """One condition: how it stands, why, and how many more items would tell."""

    name: str
    standing: str
    why: str
    more_items: int = 0


@dataclass(frozen=True)
class Evidence:
    """What is known when the gate decides; a gain is above 0 where the model is ahead of the baseline."""

    primary: Interval
    metric: str
    """What the primary gain is in, in words."""
    task: Interval | None = None
    earlier: Interval | None = None
    general: Interval | None = None
    """Share of bits per byte that the model needs more."""
    primary_is_task: bool = False
    quantized: Condition = Condition("quantized file", OPEN, "no file was tested.")
    in_points: bool = True
    """Whether the primary gain is a share; bits are none."""


@dataclass(frozen=True)
class Verdict:
    """What the gate says, and the conditions that led to it."""

    word: str
    conditions: tuple[Condition, ...]
    intervals: Mapping[str, tuple[float, float]]

    @property
    def more_items(self) -> int:
        """About how many more items would settle what is open; 0 where items are not what is lacking."""
        return max((one.more_items for one in self.conditions if one.standing == OPEN), default=0)

    @property
    def why(self) -> str:
        """The conditions that decided, in words."""
        deciding = {PROMOTE: SHOWN, HOLD: OPEN, REJECT: BROKEN}[self.word]
        return " ".join(_sentence(one) for one in self.conditions if one.standing == deciding)

    def as_json(self, gguf_sha256: str) -> dict[str, Any]:
        """What verdict.json holds."""
        return {
            "format": "verdict/1",
            "verdict": self.word,
            "gguf_sha256": gguf_sha256,
            "why": self.why,
            "more_items": self.more_items,
            "conditions": [
                {"name": one.name, "standing": one.standing, "why": _sentence(one)} for one in self.conditions
            ],
            "intervals": {name: [_rounded(end) for end in ends] for name, ends in self.intervals.items()},
        }


def decide(evidence: Evidence) -> Verdict:
    """The verdict on the evidence."""
    conditions = tuple(_conditions(evidence))
    standings = {one.standing for one in conditions}
    word = REJECT if BROKEN in standings else HOLD if OPEN in standings else PROMOTE
    return Verdict(word, conditions, dict(_intervals(evidence)))


def write_verdict(path: Path, verdict: Verdict, gguf_sha256: str, **more: Any) -> None:
    """Writes verdict.json; `more` says what was compared."""
    write_json(path, verdict.as_json(gguf_sha256) | more)


def quantized_file(model: Model | None) -> Condition:
    """Whether what was evaluated is a GGUF that passed when it was exported: told by the export's card."""
    name = "quantized file"
    if model is None:
        return Condition(name, OPEN, "what is promoted is a GGUF; export the run and evaluate that file.")
    card = model.path.parent / CARD
    row = _row_of(model.sha256, read_json(card).get("metrics")) if card.is_file() else None
    if row is None:
        return Condition(
            name, OPEN, f"no export's card speaks of {model.path.name}; backtalk export verifies it."
        )
    if row.get("passed"):
        return Condition(name, SHOWN, f"{model.path.name} passed when it was exported.")
    failed = ", ".join(map(str, row.get("failed") or ["verification"]))
    return Condition(name, BROKEN, f"{model.path.name} failed when it was exported ({failed}).")


def _conditions(evidence: Evidence) -> Iterator[Condition]:
    yield _better(evidence)
    if evidence.primary_is_task and not evidence.task:
        yield Condition("task test", SHOWN, "the primary set is the task test.")
    else:
        yield _no_worse("task test", evidence.task, "--task")
    if evidence.earlier:
        yield _no_worse("earlier rounds", evidence.earlier, "--earlier")
    else:
        yield Condition("earlier rounds", SHOWN, "no items of earlier rounds were given.")
    yield _general(evidence.general)
    yield evidence.quantized


def _better(evidence: Evidence) -> Condition:
    found, name = evidence.primary, "primary set"
    told = f"{evidence.metric} {_told(found, evidence.in_points)}"
    enough = found.changed >= SIX
    if enough and found.low > 0:
        return Condition(name, SHOWN, f"{told}: better.")
    if enough and found.high < 0:
        return Condition(name, BROKEN, f"{told}: worse.")
    if enough:
        more = found.more_items(max(found.value, POINT))
    else:  # too few to judge the spread by; as many more groups may change as did so far
        more = found.more_than(found.items * SIX / max(found.changed, 1))
        told += f", and {found.changed} of {found.clusters} groups of items changed where {SIX} are wanted"
    return Condition(name, OPEN, f"{told}: {_lacking(more)}", more)


def _no_worse(name: str, found: Interval | None, flag: str) -> Condition:
    if found is None:
        return Condition(name, OPEN, f"not run; give its items with {flag} FILE.")
    told = _told(found, in_points=True)
    if not found.changed:
        return _unchanged(name, found)
    if found.low > -POINT:
        return Condition(name, SHOWN, f"{told}: not a point worse.")
    if found.high < -POINT:
        return Condition(name, BROKEN, f"{told}: more than a point worse.")
    more = found.more_items(max(found.value + POINT, POINT / 2))
    return Condition(name, OPEN, f"{told}: {_lacking(more)}", more)


def _unchanged(name: str, found: Interval) -> Condition:
    """No draw of items that did not change can be worse, so the interval alone would say too much: where
    nothing was seen in n groups, up to 3 / n may happen (the rule of three).
    """
    enough = 3 / POINT
    if found.clusters > enough:
        return Condition(name, SHOWN, f"none of {found.clusters:,} groups of items changed.")
    more = found.more_than(found.items * enough / found.clusters)
    why = f"none of {found.clusters:,} groups of items changed: {_lacking(more)}"
    return Condition(name, OPEN, why, more)


def _general(found: Interval | None) -> Condition:
    name = "general text"
    if found is None:
        return Condition(name, OPEN, "bits per byte were not measured; give texts with --general FILE.")
    told = f"bits per byte {found.value:+.2%} [{found.low:+.2%}, {found.high:+.2%}]"
    if found.high <= GENERAL_SHARE:
        return Condition(name, SHOWN, f"{told}: within {GENERAL_SHARE:.0%}.")
    if found.low > GENERAL_SHARE:
        return Condition(name, BROKEN, f"{told}: more than {GENERAL_SHARE:.0%} worse.")
    more = found.more_items(max(GENERAL_SHARE - found.value, GENERAL_SHARE / 2))
    return Condition(name, OPEN, f"{told}: {_lacking(more)}", more)


def _lacking(more: int) -> str:
    if not more:
        return "not enough evidence."
    return f"not enough evidence: about {more:,} more items needed."


def _told(found: Interval, in_points: bool) -> str:
    if not math.isfinite(found.low):
        return f"{found.value:+.3g} from a single group of items, which has no interval"
    scale, unit = (100, " points") if in_points else (1, "")
    value, low, high = (scale * end for end in (found.value, found.low, found.high))
    return f"{value:+.3g}{unit} [{low:+.3g}, {high:+.3g}] on {found.items:,} items"


def _intervals(evidence: Evidence) -> Iterator[tuple[str, tuple[float, float]]]:
    """Those with two ends, by names that a model card can show."""
    named = {
        f"primary set, {evidence.metric}": evidence.primary,
        "task test": evidence.task,
        "earlier rounds": evidence.earlier,
        "general bits per byte, share more": evidence.general,
    }
    for name, found in named.items():
        if found and math.isfinite(found.low):
            yield name, (found.low, found.high)


def _row_of(sha256: str, metrics: Any) -> Mapping[str, Any] | None:
    """The export's row about a file, wherever in its card it stands."""
    if isinstance(metrics, Mapping):
        if metrics.get("sha256") == sha256 and "passed" in metrics:
            return metrics
        metrics = list(metrics.values())
    if isinstance(metrics, list):
        return next((row for entry in metrics if (row := _row_of(sha256, entry))), None)
    return None


def _sentence(one: Condition) -> str:
    return f"{one.name[0].upper()}{one.name[1:]}: {one.why}"


def _rounded(value: float) -> float:
    return round(value, 6)
