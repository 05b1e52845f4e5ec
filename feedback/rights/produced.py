"""What was produced from a flag's rows, for a purge: evaluations and rounds' reports hold texts and no flags.

    produced = rows_of(flag)                while the sets and rounds still name the flag; manifests always do
    removed = remove(produced)              rows of items.jsonl; pages, kept answers and reports go whole

An evaluation's row bears the id of the curated row that it asks. Cards, verdicts and pictures stay: they hold
numbers.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.files import writing
from backtalk.home import home

MANIFEST, PAGE, REPORT = "manifest.jsonl", "side_by_side.html", "REPORT.md"
PARTS = ".parts"  # ends the name of an evaluation's folder while it runs
ROUND = "round.json"


@dataclass
class Produced:
    """Ids of rows that a flag is in, and of the sets that they are in."""

    rows: set[str] = field(default_factory=set)
    sets: set[str] = field(default_factory=set)


def rows_of(flag: str) -> Produced:
    """Everything that manifests, sets and rounds know of the flag."""
    produced = Produced()
    for path in [*home().glob("curated/*/*.jsonl"), *home().glob("rounds/*/*.jsonl")]:
        found = set(_ids(path, flag))
        produced.rows |= found
        if found and path.parent.parent.name == "curated":
            produced.sets.add(path.parent.name)
    return produced


def remove(produced: Produced) -> int:
    """Takes what holds texts of these rows away; returns how many rows of evaluations that were."""
    if not produced.rows:
        return 0
    folders = [folder for folder in sorted(home().glob("evaluations/*/")) if _asks(folder, produced.rows)]
    _remove_reports({folder.name for folder in folders} | produced.sets)
    return sum(_remove_rows(folder, produced.rows) for folder in folders)


def _ids(path: Path, flag: str) -> Iterator[str]:
    """The rows that a line of a manifest, or a row with its flags, knows of the flag."""
    for row in _lines(path, flag):
        if not isinstance(row, dict):
            continue
        if path.name == MANIFEST and row.get("flag_id") == flag:
            yield from (name.partition(":")[2] for name in row.get("rows") or ())
        elif flag in (row.get("flags") or ()) and "id" in row:
            yield str(row["id"])


def _asks(folder: Path, rows: set[str]) -> bool:
    """Whether an evaluation, finished or not, has one of the rows."""
    return any(_id(line) in rows for path in folder.glob("*.jsonl") for line in _lines(path))


def _remove_reports(names: set[str]) -> None:
    """Of every round that names one of the sets or evaluations."""
    for folder in sorted(home().glob("rounds/*/")):
        said = [folder / name for name in (ROUND, CARD)]
        if any(name.encode() in path.read_bytes() for path in said if path.is_file() for name in names):
            (folder / REPORT).unlink(missing_ok=True)


def _remove_rows(folder: Path, rows: set[str]) -> int:
    """The rows go last, so that a purge that was cut short finds the rest again."""
    if folder.name.endswith(PARTS):
        shutil.rmtree(folder)
        return 0
    (folder / PAGE).unlink(missing_ok=True)
    return sum(_rewrite(path, rows) for path in sorted(folder.glob("*.jsonl")))


def _rewrite(path: Path, rows: set[str]) -> int:
    with open(path, "rb") as file:
        lines = list(file)
    kept = [line for line in lines if _id(_value(line)) not in rows]
    if len(kept) < len(lines):
        with writing(path) as file:
            file.writelines(kept)
    return len(lines) - len(kept)


def _id(line: Any) -> str:
    """Of a row of items.jsonl, or of a kept answer: part, id, what, value."""
    if isinstance(line, dict):
        return str(line.get("id", ""))
    return str(line[1]) if isinstance(line, list) and len(line) > 1 else ""


def _lines(path: Path, holding: str = "") -> Iterator[Any]:
    with open(path, "rb") as file:
        yield from (_value(line) for line in file if holding.encode() in line)


def _value(line: bytes) -> Any:
    """None for a line that is no JSON, such as the last one of an evaluation that was cut short."""
    try:
        return json.loads(line)
    except ValueError:
        return None
