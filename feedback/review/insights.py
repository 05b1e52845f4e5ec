"""Insights: what visitors say, as figures, each with how sure one can be of it.

    insights = look(gather(sources, controls), curated=home() / "curated")
    insights.good["mini, round 0"].interval        the 95 % Wilson interval of the share of good flags

Every standing flag counts, whatever it may be used for. Groups of people with fewer than ten flags are
hidden: they could be one person.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.card import read_card
from backtalk.files import read_jsonl
from feedback.curate import agreement
from feedback.curate.candidate import Candidate
from feedback.curate.gather import Gathered
from feedback.taxonomy import taxonomy

Z = 1.96  # of a 95 % interval
FEWEST = 10  # flags of a group of people that may be shown
MOST_CONFLICTS = 5
BIAS = "hate_bias"  # the reason of social fairness; the others of direction safety count beside it


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        return self.part / self.whole if self.whole else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies (Wilson, 95 %): good for small numbers and for shares near 0 and 1."""
        if not self.whole:
            return 0.0, 1.0
        n, share = self.whole, self.value
        middle = share + Z * Z / (2 * n)
        reach = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
        return max(0.0, (middle - reach) / (1 + Z * Z / n)), min(1.0, (middle + reach) / (1 + Z * Z / n))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.part} of {self.whole}, {self.value:.0%} ({low:.0%} to {high:.0%})"


@dataclass(frozen=True)
class Conflict:
    """A question that contributors answer differently, with how many give each answer."""

    question: str
    corrections: Mapping[str, int]


@dataclass(frozen=True)
class Insights:
    """All figures of one look. Hours are medians, 0 where there is none yet."""

    flags: int
    flagged: Share | None  # of the answers that were given, where their number is known
    good: Mapping[str, Share]  # by model and round
    reasons: Mapping[str, int]
    days: Mapping[str, Share]  # good ones of all
    states: Mapping[str, int]
    conflicts: Sequence[Conflict]
    hours_to_decision: float
    hours_to_set: float
    bias: Mapping[str, Share]  # by interface language and round
    safety: Mapping[str, Share]
    hidden: int  # groups of people too small to show


def look(gathered: Gathered, curated: Path | None = None, answers: int = 0) -> Insights:
    """The figures of all flags that stand; `answers`: how many were given; `curated`: where sets lie."""
    flags = [flag for flag in gathered.standing.values() if flag.fault != "retracted"]
    able = [flag for flag in flags if not flag.fault]
    states = agreement.states(able, gathered.reviews)
    decided = {
        flag.flag_id: gathered.reviews[flag.flag_id].at
        for flag in flags
        if agreement.decision_on(flag, gathered.reviews) != agreement.NEW
    }
    people = _large_enough(flags)
    alone = [flag for flag in flags if not flag.choice]  # a better one of two need not be good
    messages = len({flag.message for flag in flags})
    return Insights(
        flags=len(flags),
        flagged=Share(min(messages, answers), answers) if answers else None,
        good=_shares(alone, _model, _is_good),
        reasons=_count(reason for flag in flags for reason in flag.reasons),
        days=_shares(alone, lambda flag: flag.created_at[:10], _is_good),
        states=_count(states.values()),
        conflicts=_conflicts(flag for flag in able if states[flag.flag_id] == agreement.CONFLICT),
        hours_to_decision=_median_hours(flags, decided),
        hours_to_set=_median_hours(flags, _first_sets(curated)),
        bias=_shares(people, _people, lambda flag: BIAS in flag.reasons),
        safety=_shares(people, _people, _is_about_safety),
        hidden=len({_people(flag) for flag in flags}) - len({_people(flag) for flag in people}),
    )


def _model(flag: Candidate) -> str:
    return f"{flag.model or 'unknown'}, round {flag.round}"


def _people(flag: Candidate) -> str:
    return f"{flag.locale or 'unknown'}, round {flag.round}"


def _is_good(flag: Candidate) -> bool:
    return flag.verdict == "good"


def _is_about_safety(flag: Candidate) -> bool:
    return any(taxonomy().reason(name).direction == "safety" for name in flag.reasons)


def _count(names: Iterable[str]) -> dict[str, int]:
    """Most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda entry: (-entry[1], entry[0])))


def _shares(
    flags: Iterable[Candidate], group: Callable[[Candidate], str], has: Callable[[Candidate], bool]
) -> dict[str, Share]:
    whole: Counter[str] = Counter()
    part: Counter[str] = Counter()
    for flag in flags:
        whole[group(flag)] += 1
        part[group(flag)] += has(flag)
    return {name: Share(part[name], whole[name]) for name in sorted(whole)}


def _large_enough(flags: Sequence[Candidate]) -> list[Candidate]:
    size = Counter(_people(flag) for flag in flags)
    return [flag for flag in flags if size[_people(flag)] >= FEWEST]


def _conflicts(flags: Iterable[Candidate]) -> list[Conflict]:
    """The items with most contributors behind different corrections."""
    items: defaultdict[bytes, list[Candidate]] = defaultdict(list)
    for flag in sorted(flags, key=lambda flag: flag.flag_id):
        items[flag.item_key].append(flag)
    conflicts = [_conflict(together) for _, together in sorted(items.items())]
    return sorted(conflicts, key=lambda one: -sum(one.corrections.values()))[:MOST_CONFLICTS]


def _conflict(flags: Sequence[Candidate]) -> Conflict:
    spelling: dict[bytes, str] = {}
    voices: defaultdict[str, set[str]] = defaultdict(set)
    for flag in flags:
        voices[spelling.setdefault(flag.correction_key, flag.correction)].add(flag.contributor)
    return Conflict(flags[0].turns[-1][1], {text: len(who) for text, who in voices.items()})


def _first_sets(curated: Path | None) -> dict[str, str]:
    """For each flag that was ever used, when the first finished set that used it was made."""
    first: dict[str, str] = {}
    for card in sorted(curated.glob(f"*/{CARD}")) if curated else ():
        made = read_card(card.parent).created_at
        for line in read_jsonl(card.with_name("manifest.jsonl")):
            if line["used"]:
                first[line["flag_id"]] = min(made, first.get(line["flag_id"], made))
    return first


def _median_hours(flags: Iterable[Candidate], until: Mapping[str, str]) -> float:
    hours = [_hours(flag.created_at, until[flag.flag_id]) for flag in flags if flag.flag_id in until]
    return round(median(hours), 2) if hours else 0.0


def _hours(earlier: str, later: str) -> float:
    try:
        return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds() / 3600
    except (ValueError, TypeError):
        return 0.0


def plain(value: Any) -> Any:
    """Insights as JSON values."""
    if isinstance(value, Share):
        low, high = value.interval
        return {"part": value.part, "whole": value.whole, "from": round(low, 4), "to": round(high, 4)}
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, Insights | Conflict):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value
