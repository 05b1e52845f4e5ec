"""Insights: what everybody may know of the flags: counts, shares and times, never a text or a person.

    board = Board(served=lambda: 3)
    board.now()["models"]     [{"name": "mini", "round": 0, "part": 31, "whole": 48, "from": 0.5, "to": 0.77}]

Every standing flag counts, as in `backtalk flags stats`. A group with fewer than ten flags is left out: it
could be one person. The files are read again at most so often, and only where one of them has changed,
however many visitors ask.
"""

import io
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Any

from app.flags.fixes import STATUSES, Fixes
from backtalk.card import read_card
from backtalk.errors import BacktalkError
from backtalk.home import home
from backtalk.progress import Progress
from feedback.curate import controls
from feedback.curate.candidate import Candidate
from feedback.curate.gather import Gathered, gather
from feedback.hub.fetched import NAME as FETCHED
from feedback.review.insights import FEWEST, Share, look, plain
from feedback.store.decisions import NAME as DECISIONS
from feedback.store.outbox import NAME as OUTBOX
from feedback.taxonomy import taxonomy

FRESH_SECONDS = 20.0  # figures that are younger are not looked at again
SHARE_OF_TIME = 0.05  # that looking may take, where there is so much to read that it takes long
FIXED = "fixed"
BESIDE = (f"{OUTBOX}-wal", DECISIONS)  # what is written to before the outbox itself, or instead of it

Json = dict[str, Any]


@dataclass(frozen=True)
class Taught:
    """A round that led to the model that answers, and what became of the flags that it was judged by."""

    number: int
    at: str  # when it was finished, UTC; "" where no card says so
    status: Mapping[str, str]  # by flag


class Board:
    """The figures as everybody may see them. `served`: the round of the model that answers."""

    def __init__(self, served: Callable[[], int], clock: Callable[[], float] = time.monotonic):
        self._served, self._clock = served, clock
        self._fixes = Fixes()
        self._looking = Lock()
        self._figures: Json | None = None
        self._state: Hashable = None  # of the files, when they were read
        self._again_at = float("-inf")

    def now(self) -> Json:
        """The figures, at most some seconds old; while somebody else looks, those of the last look."""
        known = self._figures
        if known is not None and (self._clock() < self._again_at or self._looking.locked()):
            return known
        with self._looking:
            if self._figures is None or self._clock() >= self._again_at:
                self._figures = self._look()
            return self._figures

    def _look(self) -> Json:
        began, served = self._clock(), self._served()
        state = (served, self._fixes.edition(served), *_states(_sources()))
        if self._figures is None or state != self._state:
            figures = figures_of(_gathered(), self._rounds(served), home() / "curated")
            self._state = state
        else:
            figures = self._figures
        took = self._clock() - began
        self._again_at = self._clock() + max(FRESH_SECONDS, took / SHARE_OF_TIME)
        return figures

    def _rounds(self, served: int) -> list[Taught]:
        return [
            Taught(number, _finished_at(number), {flag: row["status"] for flag, row in rows.items()})
            for number, rows in self._fixes.by_round(served)
        ]


def figures_of(gathered: Gathered, rounds: Sequence[Taught], curated: Path | None = None) -> Json:
    """All figures: shares as `part` of `whole` with a 95 % interval (Wilson) `from`, `to`; times in hours."""
    flags = [flag for flag in gathered.standing.values() if flag.fault != "retracted"]
    alone = [flag for flag in flags if not flag.choice]  # of two side by side, one may be good and both bad
    known, is_enough = look(gathered, curated), len(alone) >= FEWEST
    models, few_models = _shares(alone, lambda flag: (flag.round, flag.model or "unknown"))
    by_round, few_rounds = _shares(alone, lambda flag: flag.round)
    reasons = {name: count for name, count in known.reasons.items() if count >= FEWEST}
    fixes = [_fixes(taught) for taught in rounds if len(taught.status) >= FEWEST]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "fewest": FEWEST,
        "flags": len(flags),
        "good": plain(Share(sum(map(_is_good, alone)), len(alone))) if is_enough else None,
        "models": [{"name": name, "round": number, **share} for (number, name), share in models.items()],
        "rounds": [{"round": number, **share} for number, share in by_round.items()],
        "reasons": [_reason(name, count) for name, count in reasons.items()],
        "fixes": fixes,
        "hours": {
            "decision": (known.hours_to_decision or None) if is_enough else None,
            "set": (known.hours_to_set or None) if is_enough else None,
            FIXED: _hours_to_fix(flags, rounds),
        },
        "hidden": {
            "models": few_models,
            "rounds": few_rounds,
            "reasons": len(known.reasons) - len(reasons),
            "fixes": sum(0 < len(taught.status) < FEWEST for taught in rounds),
        },
    }


def _shares(flags: Iterable[Candidate], group: Callable[[Candidate], Any]) -> tuple[dict[Any, Json], int]:
    """The share of good flags of each group that is large enough, and how many groups are not."""
    whole, part = Counter[Any](), Counter[Any]()
    for flag in flags:
        whole[group(flag)] += 1
        part[group(flag)] += _is_good(flag)
    shown = {name: plain(Share(part[name], whole[name])) for name in sorted(whole) if whole[name] >= FEWEST}
    return shown, len(whole) - len(shown)


def _is_good(flag: Candidate) -> bool:
    return flag.verdict == "good"


def _reason(name: str, count: int) -> Json:
    reason = taxonomy().reason(name)
    return {"id": name, "label": reason.label, "direction": reason.direction, "count": count}


def _fixes(taught: Taught) -> Json:
    counts = Counter(taught.status.values())
    return {"round": taught.number, "at": taught.at, **{status: counts[status] for status in STATUSES}}


def _hours_to_fix(flags: Iterable[Candidate], rounds: Sequence[Taught]) -> float | None:
    """The median from a flag to the round that fixed it; None where fewer than ten flags have one."""
    given = {flag.flag_id: flag.created_at for flag in flags}
    fixed: dict[str, float] = {}
    for taught in rounds:
        for flag, status in taught.status.items():
            hours = _hours(given.get(flag, ""), taught.at)
            if status == FIXED and hours is not None:
                fixed.setdefault(flag, hours)
    return round(median(fixed.values()), 2) if len(fixed) >= FEWEST else None


def _hours(earlier: str, later: str) -> float | None:
    try:
        return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds() / 3600
    except (ValueError, TypeError):
        return None


def _gathered() -> Gathered:
    """All flags that are on this machine; the Hub is not asked, since visitors are waiting."""
    return gather(_sources(), controls.pattern(), Progress(io.StringIO()))


def _sources() -> list[Path]:
    places = (home() / OUTBOX, home() / "segments", home() / FETCHED)
    return [place for place in places if place.exists()]


def _states(sources: Iterable[Path]) -> Iterator[Hashable]:
    """Something else as soon as anything was written to a source."""
    for source in sources:
        files = sorted(source.rglob("*")) if source.is_dir() else [source, *map(source.with_name, BESIDE)]
        for file in files:
            with suppress(OSError):  # a file that goes meanwhile is missing the next time
                status = file.stat()
                yield str(file), status.st_mtime_ns, status.st_size


def _finished_at(number: int) -> str:
    try:
        return read_card(home() / "rounds" / str(number)).created_at
    except (BacktalkError, OSError) as fault:
        print(f"{fault} How long its fixes took is not shown.", file=sys.stderr, flush=True)
        return ""
