"""The rows of a dataset at one commit, kept aside file by file, so that no memory has to hold them.

    with Spool(folder) as spool:
        spool.keep("data/v1/2026-11-21/x.jsonl", content)
        spool.rows("data/v1/2026-11-21/x.jsonl")       the rows of that file, by event id
        spool.merged(paths)                            the rows of many files, by event id

Everything lies in files without a name: what is deleted on the Hub must not live on in a copy here, and these
are gone with the process, however it ends.
"""

import gzip
import heapq
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import BinaryIO, NamedTuple

from backtalk.errors import BacktalkError

AT_ONCE = 16_384  # bytes that each file being read has in memory, or one row if that is longer


class Row(NamedTuple):
    """What compaction needs to know of a line."""

    event_id: str
    flag_id: str
    op: str
    rank: tuple[int, bool, str, str]  # as feedback/revisions.py ranks the events of a flag
    line: bytes


class Spool:
    """Files of rows, on a disk but under no name."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._open = ExitStack()
        self._lines = self.new_file()
        self._places: dict[str, tuple[int, int]] = {}  # of each file: where it begins and ends

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def paths(self) -> list[str]:
        """The files in the order in which they were kept."""
        return list(self._places)

    def new_file(self) -> BinaryIO:
        """An empty file that is gone when the spool is closed."""
        return self._open.enter_context(TemporaryFile(dir=self._folder))

    def keep(self, path: str, content: bytes) -> None:
        """Keeps the rows of a file, sorted by event id. BacktalkError where one is no flag event."""
        start = self._lines.seek(0, os.SEEK_END)
        try:
            self._lines.writelines(_by_event_id(path, content))
        except (ValueError, KeyError, TypeError) as fault:
            raise BacktalkError(
                f"{path} holds a line that is no flag event ({fault!r}). Repair or delete it."
            ) from fault
        self._lines.flush()
        self._places[path] = (start, self._lines.tell())

    def rows(self, path: str, holding: bytes = b"") -> Iterator[Row]:
        """The rows of a file whose lines hold these bytes, by event id; the same id in the file's order."""
        return (row_of(line) for line in self._lines_of(path) if holding in line)

    def merged(self, paths: Iterable[str]) -> Iterator[tuple[str, Row]]:
        """The rows of these files by event id, each with its file; the same id in the order of `paths`."""
        return heapq.merge(*map(self._named_rows, paths), key=lambda named: named[1].event_id)

    def _named_rows(self, path: str) -> Iterator[tuple[str, Row]]:
        return ((path, row) for row in self.rows(path))

    def _lines_of(self, path: str) -> Iterator[bytes]:
        place, end = self._places[path]
        rest = b""
        while place < end:
            part = os.pread(self._lines.fileno(), min(AT_ONCE, end - place), place)
            place += len(part)
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                yield line + b"\n"


def row_of(line: bytes) -> Row:
    """The row of a line. ValueError, KeyError or TypeError where it is no flag event."""
    row = json.loads(line)
    rank = row["revision"], row["op"] == "retract", row["created_at"], row["event_id"]
    return Row(row["event_id"], row["flag_id"], row["op"], rank, line)


def _by_event_id(path: str, content: bytes) -> Iterable[bytes]:
    """The lines in order. Our own files are, and are read line by line; one made by hand may not be."""
    ids = (row_of(line).event_id for line in _lines(path, content))
    if all(one <= next_one for one, next_one in pairwise(ids)):
        return _lines(path, content)
    return sorted(_lines(path, content), key=lambda line: row_of(line).event_id)


def _lines(path: str, content: bytes) -> Iterator[bytes]:
    with gzip.open(BytesIO(content)) if path.endswith(".gz") else BytesIO(content) as lines:
        for line in lines:
            yield line.removesuffix(b"\n") + b"\n"
