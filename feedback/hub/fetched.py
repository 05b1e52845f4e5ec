"""What datasets held when they were last fetched: their files of flags, byte for byte, in plain folders.

    fetched = Fetched.beside(outbox)        BACKTALK_HOME/fetched
    fetched.files()                         flags/data/v1/2026-11-21/....jsonl, .../compacted/....jsonl.gz
    fetched.flags()                         flag id -> the places of its events, the one that stands last
    fetched.read(place)                     the event there

`fetch.py` writes the folders, this only reads them. A place is found by reading each line once, and an event
is checked when it is read: of a line that breaks the format, the sentence is in `refused`.
"""

import gzip
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

from backtalk.errors import BacktalkError, FlagError
from feedback.schema import LONGEST_ROW, FlagEvent, from_row
from feedback.store.outbox import Outbox

NAME = "fetched"

Rank = tuple[int, bool, str, str]  # as feedback/revisions.py ranks the events of a flag


class Place(NamedTuple):
    """Where the line of an event lies, and how the event ranks among those of its flag."""

    rank: Rank
    file: Path
    start: int
    length: int


class Fetched:
    """The files of flags that were fetched to one machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refused: list[str] = []
        self._open = ExitStack()
        self._unpacked: dict[Path, BinaryIO] = {}
        self._flags: dict[str, list[Place]] = {}
        self._read_at: dict[str, Any] | None = None  # what was there when the places were looked for

    @staticmethod
    def beside(outbox: Outbox) -> "Fetched":
        """Those of the machine whose outbox this is."""
        return Fetched(outbox.path.with_name(NAME))

    def files(self) -> list[Path]:
        """The files in the order of their names."""
        if not self.folder.exists():
            return []
        return sorted(path for path in self.folder.rglob("*.jsonl*") if path.suffix in (".jsonl", ".gz"))

    def heads(self) -> dict[str, Any]:
        """What was fetched completely, by dataset: repository, commit and when."""
        found = sorted(self.folder.glob("*.json"))
        return {path.stem: json.loads(path.read_text()) for path in found}

    def flags(self) -> dict[str, list[Place]]:
        """The places of the events of each flag, by rank; found once for each state of the folder."""
        heads = self.heads()
        if heads != self._read_at:
            self.close()
            self._flags = self._found()
            self._read_at = heads
        return self._flags

    def read(self, place: Place) -> FlagEvent | None:
        """The event at a place; None where it breaks the format, which is then told in `refused`."""
        try:
            return from_row(self._line(place))
        except FlagError as fault:
            self.refused.append(f"{place.file.name}, from byte {place.start}: {fault}")
            return None

    def close(self) -> None:
        """Lets go of what was unpacked."""
        self._open.close()
        self._unpacked.clear()

    def _found(self) -> dict[str, list[Place]]:
        flags: defaultdict[str, dict[Rank, Place]] = defaultdict(dict)
        for file in self.files():
            start = 0
            for line in self._lines(file):
                if found := _understood(line):
                    flag, rank = found
                    flags[flag].setdefault(rank, Place(rank, file, start, len(line)))
                elif line.strip():
                    self.refused.append(f"{file.name}, from byte {start}: this line is no flag event.")
                start += len(line)
        return {flag: sorted(places.values()) for flag, places in sorted(flags.items())}

    def _lines(self, file: Path) -> Iterator[bytes]:
        if file.suffix == ".gz":
            yield from self._rows_of(file)
            return
        with open(file, "rb") as lines:
            yield from lines

    def _rows_of(self, shard: Path) -> BinaryIO:
        """A shard, unpacked into a file without a name: what is deleted must not live on in a copy."""
        if shard not in self._unpacked:
            self._unpacked[shard] = self._new_file()
            with gzip.open(shard) as packed:
                shutil.copyfileobj(packed, self._unpacked[shard])
        rows = self._unpacked[shard]
        rows.seek(0)
        return rows

    def _new_file(self) -> BinaryIO:
        return self._open.enter_context(TemporaryFile(dir=self.folder))

    def _line(self, place: Place) -> bytes:
        if place.file in self._unpacked:
            return os.pread(self._unpacked[place.file].fileno(), place.length, place.start)
        try:
            with open(place.file, "rb") as file:
                return os.pread(file.fileno(), place.length, place.start)
        except FileNotFoundError as fault:
            raise BacktalkError(
                f"{place.file.name} was replaced while flags were read: they are being fetched. Run it again."
            ) from fault


def _understood(line: bytes) -> tuple[str, Rank] | None:
    """The flag of a line and the rank of its event; None where it is no event."""
    try:
        row = json.loads(line) if len(line) <= LONGEST_ROW else None
        flag, revision, op = row["flag_id"], row["revision"], row["op"]  # type: ignore[index]
        created_at, event_id = row["created_at"], row["event_id"]  # type: ignore[index]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (flag, op, created_at, event_id)
    if type(revision) is not int or not all(isinstance(text, str) for text in texts):
        return None
    return flag, (revision, op == "retract", created_at, event_id)
