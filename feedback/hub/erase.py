"""The rows of one flag, taken out of files and datasets; of a dataset also out of its past.

    kept, gone = without(content, "x.jsonl.gz", flag)
    erase("somebody/flags", flag)       rewrites what holds it, squashes the history, deletes old large files

Withdrawals stay: they hold no text. Nothing of a dataset is written to a disk here.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from backtalk import hub
from backtalk.errors import FlagError, NetworkError
from feedback.schema import FlagEvent, from_row

TRIES = 10  # in a row that replicas come in between
MESSAGE = "Rows of withdrawn flags removed"


@dataclass
class Erased:
    """What was removed from a dataset, and what this cannot remove."""

    rows: int = 0
    left: list[str] = field(default_factory=list)  # branches and tags that hold the past


def without(content: bytes, name: str, flag: str) -> tuple[bytes, int]:
    """A file of rows without those of the flag that hold a text, and how many these were."""
    lines = _lines(content, name)
    kept = [line for line in lines if not _holds_text(line, flag)]
    if len(kept) == len(lines):
        return content, 0
    whole = b"".join(kept)
    return gzip.compress(whole, mtime=0) if name.endswith(".gz") else whole, len(lines) - len(kept)


def teaches(content: bytes, flag: str) -> bool:
    """Whether a file of a curated set has a row that is there because of the flag."""
    return any(_is_taught(_row(line), flag) for line in content.splitlines() if flag.encode() in line)


def events_in(repository: str, flag: str) -> list[FlagEvent]:
    """The events of the flag that a dataset holds now."""
    head = hub.head(repository)
    files = _data_files(repository, head.commit) if head else iter(())
    lines = (line for path, content in files for line in _lines(content, path) if flag.encode() in line)
    return [event for line in lines for event in _event(line) if event.flag_id == flag]


def erase(repository: str, flag: str) -> Erased:
    """Removes the flag's rows and everything that was before. Raises NetworkError where it cannot."""
    erased = Erased()
    for _ in range(TRIES):
        head = hub.head(repository)
        if head is None:
            return erased
        rewritten, gone = _rewritten(repository, head.commit, flag)
        if not gone:
            erased.left = hub.forget_past(repository, MESSAGE)
            return erased
        add = {path: content for path, content in rewritten.items() if content}
        if hub.commit(repository, add, MESSAGE, delete=rewritten.keys() - add.keys(), parent=head.commit):
            erased.rows += gone
    raise NetworkError(f"Others write to {repository} all the time. Run it again for the rest.")


def _rewritten(repository: str, commit: str, flag: str) -> tuple[dict[str, bytes], int]:
    """The files that hold the flag, without it (empty: nothing else was in it), and how many rows it had."""
    files, rows = {}, 0
    for path, content in _data_files(repository, commit):
        kept, gone = without(content, path, flag)
        if gone:
            files[path] = kept if _lines(kept, path) else b""
            rows += gone
    return files, rows


def _data_files(repository: str, commit: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(hub.files(repository, commit)):
        if path.startswith("data/") and path.endswith((".jsonl", ".jsonl.gz")):
            yield path, hub.read(repository, path, commit)


def _lines(content: bytes, name: str) -> list[bytes]:
    return (gzip.decompress(content) if name.endswith(".gz") else content).splitlines(keepends=True)


def _holds_text(line: bytes, flag: str) -> bool:
    if flag.encode() not in line:
        return False
    row = _row(line)
    return _is_taught(row, flag) or (row.get("flag_id") == flag and row.get("op") != "retract")


def _is_taught(row: dict[str, Any], flag: str) -> bool:
    flags = row.get("flags")
    return isinstance(flags, list) and flag in flags


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _event(line: bytes) -> Iterator[FlagEvent]:
    try:
        yield from_row(line)
    except FlagError:  # a decision, or a row of a later version
        return
