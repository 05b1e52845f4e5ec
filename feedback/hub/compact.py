"""`backtalk flags sync --compact`: many segments become one shard, and withdrawn flags leave the dataset.

    compact("flags").sentence       "Merged 12 segments; 1 shards of 340 events were written, ..."

Everything happens in one commit on top of the commit that was read, so a reader sees each event once at any
moment: in its segment before, in the shard after. Beside each shard stands the list of the segments that it
took; a replica that comes late with such a segment reads it there and does not add it again. Of a withdrawn
flag only the withdrawal stays, which holds no text: an older event that turns up later remains withdrawn.

However large the dataset is, memory holds a few of its files at a time (feedback/hub/spool.py).
"""

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from typing import BinaryIO

from backtalk import hub
from backtalk.errors import NetworkError
from backtalk.files import canonical_json
from backtalk.home import home
from feedback.hub.dataset import FOLDER, TAKEN, VARIABLES, named
from feedback.hub.segment import STAMP, sealed_time
from feedback.hub.spool import Row, Spool
from feedback.hub.sync import COMPACTED_AFTER

SHARDS = f"{FOLDER}/compacted"
MOST_SEGMENTS = 2_000  # in one commit
MOST_ROWS = 50_000  # in one shard
TRIES = 10  # in a row that replicas come in between
READERS = 8  # of segments; a shard is read alone
RETRACT = b'"retract"'  # most lines need not be read to know that they withdraw nothing
GZIP = zlib.MAX_WBITS + 16  # what zlib calls that format; it writes no time into it


@dataclass(frozen=True)
class Contents:
    """What a dataset holds at one commit."""

    files: frozenset[str]
    rows: Spool  # of the data files
    taken: dict[str, list[str]]  # by list: the segments that live on in a shard
    withdrawn: dict[str, Counter[str]]  # by data file: its withdrawn flags, and how many rows hold a text

    def leaves(self, path: str, row: Row) -> bool:
        """Whether the row of this file holds the text of a withdrawn flag."""
        return row.op != "retract" and row.flag_id in self.withdrawn[path]


@dataclass(frozen=True)
class Compaction:
    """What was done, over all commits."""

    segments: int = 0
    shards: int = 0
    rows: int = 0
    dropped: int = 0

    def __add__(self, other: "Compaction") -> "Compaction":
        return Compaction(
            *(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True))
        )

    @property
    def sentence(self) -> str:
        """In words, for the maintainer."""
        if self == Compaction():
            return "Nothing to compact: no segment is older than a day, and no shard holds a withdrawn flag."
        return (
            f"Merged {self.segments} segments; {self.shards} shards of {self.rows} events were written, and "
            f"{self.dropped} events of withdrawn flags left."
        )


@dataclass(frozen=True)
class Plan:
    """One commit, and what it does."""

    add: Mapping[str, bytes | BinaryIO]
    delete: Collection[str]
    does: Compaction


def compact(dataset: str, now: datetime | None = None) -> Compaction:
    """Merges what is older than a day; returns what was done. Raises NetworkError where nothing can be."""
    repository = named(dataset)
    if not repository:
        raise NetworkError(f"{VARIABLES[dataset]} is not set: give it the dataset to compact, as owner/name.")
    before = (now or datetime.now(UTC)) - COMPACTED_AFTER
    done, plan, missed = Compaction(), None, 0
    while missed < TRIES:
        head = hub.head(repository)
        if head is None:
            raise NetworkError(f"The Hub has no dataset {repository} that the token in HF_TOKEN may see.")
        with Spool(home()) as spool:
            contents = _read(repository, head.commit, spool)
            if plan and contents.files >= plan.add.keys():
                done, missed = done + plan.does, 0
            plan = _plan(contents, before)
            if plan is None:
                return done
            missed += 1
            hub.commit(repository, plan.add, _message(plan.does), delete=plan.delete, parent=head.commit)
    raise NetworkError(
        f"Others write to {repository} all the time. {done.sentence} Run it again for the rest."
    )


def _read(repository: str, commit: str, spool: Spool) -> Contents:
    files = hub.files(repository, commit)

    def contents(folder: str, suffix: str, at_once: int = READERS) -> Iterator[tuple[str, bytes]]:
        paths = sorted(path for path in files if path.startswith(f"{folder}/") and path.endswith(suffix))
        return _downloads(repository, commit, paths, at_once)

    for path, content in chain(contents(FOLDER, ".jsonl"), contents(FOLDER, ".gz", at_once=1)):
        spool.keep(path, content)
    taken = {path: json.loads(content)["segments"] for path, content in contents(TAKEN, ".json")}
    return Contents(files, spool, taken, _withdrawn(spool))


def _downloads(repository: str, commit: str, paths: list[str], at_once: int) -> Iterator[tuple[str, bytes]]:
    """The files with their contents: memory has so many of them at once, and no reader runs ahead."""
    with ThreadPoolExecutor(at_once) as readers:
        for start in range(0, len(paths), at_once):
            some = paths[start : start + at_once]
            read = readers.map(lambda path: hub.read(repository, path, commit), some)
            yield from zip(some, read, strict=True)


def _withdrawn(spool: Spool) -> dict[str, Counter[str]]:
    """By file: the flags whose last event is a retraction, and how many rows there hold their texts."""
    retracted: dict[str, tuple[int, bool, str, str]] = {}
    for row in chain.from_iterable(spool.rows(path, holding=RETRACT) for path in spool.paths):
        if row.op == "retract":
            retracted[row.flag_id] = max(row.rank, retracted.get(row.flag_id, row.rank))
    standing: set[str] = set()
    held: dict[str, Counter[str]] = {path: Counter() for path in spool.paths}
    for path in spool.paths if retracted else ():
        for row in spool.rows(path):
            if row.op != "retract" and row.flag_id in retracted:
                held[path][row.flag_id] += 1
                if row.rank > retracted[row.flag_id]:
                    standing.add(row.flag_id)
    for flags in held.values():
        for flag in standing & flags.keys():
            del flags[flag]
    return held


def _plan(contents: Contents, before: datetime) -> Plan | None:
    """The next commit; None where nothing is left to do."""
    paths = contents.rows.paths
    old = [path for path in paths if _is_old(path, before)][:MOST_SEGMENTS]
    changed = [path for path in paths if _is_shard(path) and contents.withdrawn[path]]
    if not old and not changed:
        return None
    taken = sorted({*old, *(name for path in changed for name in contents.taken.get(_list_of(path), ()))})
    add, rows = _shards(_staying(contents, [*changed, *old]), taken, contents.rows.new_file)
    delete = {*old, *changed, *map(_list_of, changed)} - add.keys()
    shards = sum(map(_is_shard, add))
    dropped = sum(contents.withdrawn[path].total() for path in (*changed, *old))
    return Plan(add, delete, Compaction(len(old), shards, rows, dropped))


def _staying(contents: Contents, merged: list[str]) -> Iterator[bytes]:
    """The lines of the files to merge, each event once, by event id; without the texts of withdrawn flags.

    An event that an older shard has, which stays as it is, is not taken again.
    """
    shards = {path for path in contents.rows.paths if _is_shard(path)} - {*merged}
    together = contents.rows.merged([*sorted(shards), *merged])
    for _, same in groupby(together, key=lambda named: named[1].event_id):
        versions = list(same)
        lines = [row.line for path, row in versions if not contents.leaves(path, row)]
        if lines and not any(path in shards for path, _ in versions):
            yield lines[-1]


def _shards(
    lines: Iterator[bytes], taken: list[str], new_file: Callable[[], BinaryIO]
) -> tuple[dict[str, bytes | BinaryIO], int]:
    """The shards of these lines, each with its list, and how many lines; of none, the list alone."""
    stamp = max(map(sealed_time, taken)).strftime(STAMP)
    note = canonical_json({"segments": taken})
    files: dict[str, bytes | BinaryIO] = {}
    rows, line = 0, next(lines, b"")
    while line or not files:
        shard = new_file()
        count, sha256 = _pack(chain([line] if line else [], islice(lines, MOST_ROWS - 1)), note, shard)
        stem = f"{stamp}-{sha256[:12]}"
        files[f"{TAKEN}/{stem}.json"] = note
        if count:
            files[f"{SHARDS}/{stem}.jsonl.gz"] = shard
        rows, line = rows + count, next(lines, b"")
    return files, rows


def _pack(lines: Iterable[bytes], note: bytes, shard: BinaryIO) -> tuple[int, str]:
    """Writes the lines as gzip, equal lines as equal bytes; how many, and the hash of them and the note."""
    count, sha = 0, hashlib.sha256()
    packer = zlib.compressobj(zlib.Z_BEST_COMPRESSION, zlib.DEFLATED, GZIP)
    for line in lines:
        count += 1
        sha.update(line)
        shard.write(packer.compress(line))
    shard.write(packer.flush())
    shard.seek(0)
    sha.update(note)
    return count, sha.hexdigest()


def _is_shard(path: str) -> bool:
    return path.startswith(f"{SHARDS}/")


def _is_old(path: str, before: datetime) -> bool:
    if _is_shard(path):
        return False
    try:
        return sealed_time(path) < before
    except ValueError:  # put there by hand, under a name of its own
        return False


def _list_of(shard: str) -> str:
    return f"{TAKEN}/{shard.removeprefix(f'{SHARDS}/').removesuffix('.jsonl.gz')}.json"


def _message(does: Compaction) -> str:
    return f"{does.segments} segments into {does.shards} shards"
