"""`backtalk flags sync --compact`: many segments become one shard, and withdrawn flags leave the dataset.

    compact("flags").sentence       "Merged 12 segments; 1 shards of 340 events were written, ..."

Everything happens in one commit on top of the commit that was read, so a reader sees each event once at any
moment: in its segment before, in the shard after. Beside each shard stands the list of the segments that it
took; a replica that comes late with such a segment reads it there and does not add it again. Of a withdrawn
flag only the withdrawal stays, which holds no text: an older event that turns up later remains withdrawn.
"""

import gzip
import hashlib
import json
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from backtalk import hub
from backtalk.errors import BacktalkError, NetworkError
from backtalk.files import canonical_json
from feedback.dataset import FOLDER, TAKEN, VARIABLES, named
from feedback.segment import STAMP, sealed_time
from feedback.sync import COMPACTED_AFTER

SHARDS = f"{FOLDER}/compacted"
MOST_SEGMENTS = 2_000  # in one commit
MOST_ROWS = 50_000  # in one shard
TRIES = 10  # in a row that replicas come in between
READERS = 8


class Row(NamedTuple):
    """What compaction needs to know of a line."""

    event_id: str
    flag_id: str
    op: str
    rank: tuple[int, bool, str, str]  # as feedback/revisions.py ranks the events of a flag
    line: bytes


@dataclass(frozen=True)
class Contents:
    """What a dataset holds at one commit."""

    files: frozenset[str]
    rows: dict[str, list[Row]]  # by data file
    taken: dict[str, list[str]]  # by list: the segments that live on in a shard

    @property
    def withdrawn(self) -> set[str]:
        """The flags whose last event is a retraction."""
        last: dict[str, Row] = {}
        for row in (row for rows in self.rows.values() for row in rows):
            known = last.get(row.flag_id)
            if known is None or row.rank > known.rank:
                last[row.flag_id] = row
        return {flag_id for flag_id, row in last.items() if row.op == "retract"}


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

    add: Mapping[str, bytes]
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
        contents = _read(repository, head.commit)
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


def _read(repository: str, commit: str) -> Contents:
    files = hub.files(repository, commit)
    with ThreadPoolExecutor(READERS) as readers:

        def contents(folder: str, suffixes: tuple[str, ...]) -> dict[str, bytes]:
            paths = sorted(
                path for path in files if path.startswith(f"{folder}/") and path.endswith(suffixes)
            )
            return dict(
                zip(paths, readers.map(lambda path: hub.read(repository, path, commit), paths), strict=True)
            )

        rows = {path: _rows(path, content) for path, content in contents(FOLDER, (".jsonl", ".gz")).items()}
        taken = {
            path: json.loads(content)["segments"] for path, content in contents(TAKEN, (".json",)).items()
        }
    return Contents(files, rows, taken)


def _rows(path: str, content: bytes) -> list[Row]:
    lines = (gzip.decompress(content) if path.endswith(".gz") else content).splitlines(keepends=True)
    try:
        return [_row(line) for line in lines]
    except (ValueError, KeyError, TypeError) as fault:
        raise BacktalkError(
            f"{path} holds a line that is no flag event ({fault!r}). Repair or delete it."
        ) from fault


def _row(line: bytes) -> Row:
    row = json.loads(line)
    rank = row["revision"], row["op"] == "retract", row["created_at"], row["event_id"]
    return Row(row["event_id"], row["flag_id"], row["op"], rank, line)


def _plan(contents: Contents, before: datetime) -> Plan | None:
    """The next commit; None where nothing is left to do."""
    withdrawn = contents.withdrawn

    def leaves(row: Row) -> bool:
        return row.flag_id in withdrawn and row.op != "retract"

    old = [path for path in contents.rows if _is_old(path, before)][:MOST_SEGMENTS]
    changed = [path for path, rows in contents.rows.items() if _is_shard(path) and any(map(leaves, rows))]
    if not old and not changed:
        return None
    merged = [row for path in (*changed, *old) for row in contents.rows[path]]
    stay = {row.event_id: row.line for row in merged if not leaves(row)}
    for path in contents.rows.keys() - {*changed, *old}:
        if _is_shard(path):  # an event that an older shard has is not taken again
            for row in contents.rows[path]:
                stay.pop(row.event_id, None)
    taken = sorted({*old, *(name for path in changed for name in contents.taken.get(_list_of(path), ()))})
    add = _shards([stay[event_id] for event_id in sorted(stay)], taken)
    delete = {*old, *changed, *map(_list_of, changed)} - add.keys()
    shards = sum(map(_is_shard, add))
    return Plan(add, delete, Compaction(len(old), shards, len(stay), sum(map(leaves, merged))))


def _shards(lines: list[bytes], taken: list[str]) -> dict[str, bytes]:
    """The shards of these lines, each with its list; where no line is left, the list alone."""
    stamp = max(map(sealed_time, taken)).strftime(STAMP)
    note = canonical_json({"segments": taken})
    files = {}
    for start in range(0, max(1, len(lines)), MOST_ROWS):
        content = b"".join(lines[start : start + MOST_ROWS])
        stem = f"{stamp}-{hashlib.sha256(content + note).hexdigest()[:12]}"
        files[f"{TAKEN}/{stem}.json"] = note
        if content:
            files[f"{SHARDS}/{stem}.jsonl.gz"] = gzip.compress(content, mtime=0)
    return files


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
