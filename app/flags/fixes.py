"""What became of flagged answers: then, now, and whether the round that learned from the flag fixed it.

    fixes = Fixes()
    fixes.of(["f1..."], served=3)      {"f1...": {"round": 3, "status": "fixed", "then": "...", "now": "..."}}

Each round leaves `rounds/N/fixed.jsonl`, one line for a flag. Only the flags that are asked for are told, so
a visitor learns of their own alone. Only the rounds that the answering model comes from count: each card says
which round was served before it. A round that was rolled back or stopped by the gate is in nobody's line.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.errors import BacktalkError
from backtalk.files import read_json, read_jsonl
from backtalk.home import home

NAME, STATE = "fixed.jsonl", "round.json"
STATUSES = ("fixed", "still_wrong", "newly_broken")

Json = dict[str, Any]
Stamp = tuple[int, int, int]


class Fixes:
    """Reads the rounds' files, each anew only where it has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, Mapping[str, Json]]] = {}
        self._lock = Lock()

    def of(self, flags: Iterable[str], served: int) -> dict[str, Json]:
        """What the latest round that led to `served` and knows of a flag made of it, by flag."""
        wanted, found = set(flags), dict[str, Json]()
        if not wanted:
            return found
        for number, path in _rounds(served):
            rows = self._read(path)
            for flag in (wanted - found.keys()) & rows.keys():
                found[flag] = {**rows[flag], "round": number}
        return found

    def by_round(self, served: int) -> list[tuple[int, Mapping[str, Json]]]:
        """The rounds that led to `served`, first to last, each with what it made of all its flags."""
        return [(number, self._read(path)) for number, path in reversed([*_rounds(served)])]

    def edition(self, served: int) -> str:
        """Another text once there is something new to tell: a round's file comes after its promotion."""
        for number, path in _rounds(served):
            with suppress(OSError):
                return f"{number}-{path.stat().st_mtime_ns}"
        return ""

    def _read(self, path: Path) -> Mapping[str, Json]:
        with self._lock:
            try:
                status = path.stat()
            except OSError:
                return {}
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if path not in self._known or self._known[path][0] != stamp:
                self._known[path] = (stamp, _rows(path))
            return self._known[path][1]


def _rounds(served: int) -> Iterator[tuple[int, Path]]:
    """The round that is served, the one that was served before it, and so on down to the first."""
    while served > 0:
        folder = home() / "rounds" / str(served)
        yield served, folder / NAME
        served = min(_before(folder), served - 1)  # always down, whatever a card says


def _before(folder: Path) -> int:
    """The round that was served when this one began; 0 where there was none, or where nothing says so."""
    for name in (CARD, STATE):  # the card is written last, a moment after the promotion
        try:
            said = read_json(folder / name)
            return int(said.get("metrics", said)["current"]["round"])
        except (BacktalkError, OSError, KeyError, TypeError, ValueError, AttributeError):
            continue
    return 0


def _rows(path: Path) -> Mapping[str, Json]:
    """The rows of one file by flag; a broken file is said once and tells nothing."""
    try:
        rows = list(read_jsonl(path))
    except (BacktalkError, OSError, ValueError) as fault:
        print(f"{fault} What became of its flags is not shown.", file=sys.stderr, flush=True)
        return {}
    return {
        row["flag_id"]: {name: row[name] for name in ("status", "then", "now")} for row in rows if _fits(row)
    }


def _fits(row: Any) -> bool:
    texts = ("flag_id", "status", "then", "now")
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(name), str) for name in texts)
        and row["status"] in STATUSES
    )
