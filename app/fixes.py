"""What became of flagged answers: then, now, and whether the round that learned from the flag fixed it.

    fixes = Fixes()
    fixes.of(["f1..."], served=3)      {"f1...": {"round": 3, "status": "fixed", "then": "...", "now": "..."}}

Each round leaves `rounds/N/fixed.jsonl`, one line for a flag. Only the flags that are asked for are told, so
a visitor learns of their own alone; and only rounds up to the one that answers now count: what was rolled
back is fixed no longer.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.files import read_json, read_jsonl
from backtalk.home import home

NAME = "fixed.jsonl"
VERDICT, PROMOTE = "verdict.json", "PROMOTE"
STATUSES = ("fixed", "still_wrong", "newly_broken")

Json = dict[str, Any]
Stamp = tuple[int, int, int]


class Fixes:
    """Reads the rounds' files, each anew only where it has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, Mapping[str, Json]]] = {}
        self._lock = Lock()

    def of(self, flags: Iterable[str], served: int) -> dict[str, Json]:
        """What the latest round up to `served` that knows of a flag made of it, by flag."""
        wanted, found = set(flags), dict[str, Json]()
        if not wanted:
            return found
        for number, path in _rounds(served):
            rows = self._read(path)
            for flag in (wanted - found.keys()) & rows.keys():
                found[flag] = {**rows[flag], "round": number}
        return found

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
    """The rounds that lead to what is served, the latest first. One that the gate stopped was never served,
    unless it is the one that answers: then somebody overruled the gate.
    """
    folders = [folder for folder in (home() / "rounds").glob("*") if folder.name.isdecimal()]
    for folder in sorted(folders, key=lambda folder: -int(folder.name)):
        number = int(folder.name)
        if number == served or (number < served and _was_promoted(folder)):
            yield number, folder / NAME


def _was_promoted(folder: Path) -> bool:
    try:
        return bool(read_json(folder / VERDICT)["verdict"] == PROMOTE)
    except (BacktalkError, OSError, KeyError, TypeError):
        return False


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
