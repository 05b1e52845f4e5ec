"""Which rows of the outbox went into which file: sealed here, and confirmed once the Hub has them.

    segments = Segments(outbox)
    segments.seal()                             what consent covers becomes files, each row in exactly one
    segments.unconfirmed("flags")               what the Hub is not known to have
    segments.confirm("flags", names, commit)
    segments.take("flags", name, content)       sealed by a machine whose disk is lost: ours from now on

A segment is `data/v1/2026-11-21/20261121T093001Z-1f0c9a2b-<sha12 of its rows>.jsonl`. Its rows never change,
so its bytes can be made again at any time and a retry writes the same file. Rows without consent are never
sealed; nor is a flag that was withdrawn before anything of it had left.
"""

import fcntl
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backtalk.files import canonical_json, writing
from feedback.hub.dataset import FLAGS, FOLDER, SAFETY
from feedback.hub.depart import as_sent, homes
from feedback.schema import SCOPES, FlagEvent, from_row, now, to_row
from feedback.store.outbox import Outbox

MOST_ROWS = 1_000
MOST_BYTES = 4_000_000  # the Hub keeps text files up to 10 MB in git itself
MOST_BYTES_AT_ONCE = 40_000_000  # of segments in one commit
WITHHELD = "withheld"  # in place of a segment's name: it never leaves

NAME = re.compile(r"/\d{4}-\d\d-\d\d/\d{8}T\d{6}Z-[0-9a-f]{8}-[0-9a-f]{12}\.jsonl")
STAMP = "%Y%m%dT%H%M%SZ"
SEALABLE = "segment = '' AND (op = 'retract' OR json_extract(row, '$.consent.scope') != '') = 1"


@dataclass(frozen=True)
class Segment:
    """One sealed file of one dataset."""

    dataset: str
    name: str
    content: bytes


@dataclass(frozen=True)
class Course:
    """How far the events of this machine have come."""

    without_consent: int
    waiting: dict[str, int]  # by dataset; what is not sealed yet counts as "flags"
    confirmed: int
    commit: str  # the newest that holds some of them
    hindrances: dict[str, str]


class Segments:
    """The segments of one outbox."""

    def __init__(self, outbox: Outbox):
        self._outbox = outbox

    def seal(self, most: int = MOST_ROWS) -> int:
        """Seals what may leave, at most so many rows at once; returns how many rows it decided on."""
        with _sole_sealer(self._outbox.path):
            return self._seal(most)

    def unconfirmed_names(self, dataset: str) -> list[str]:
        """The names of all segments that the Hub is not known to have, the oldest first."""
        with self._outbox.transaction() as connection:
            found = connection.execute(
                "SELECT name FROM segments WHERE dataset = ? AND at_commit = '' ORDER BY name", (dataset,)
            ).fetchall()
        return [name for (name,) in found]

    def _seal(self, most: int) -> int:
        with self._outbox.transaction() as connection:
            rows = connection.execute(
                f"SELECT row FROM events WHERE {SEALABLE} ORDER BY seq LIMIT ?", (most,)
            ).fetchall()
        events = _first([row for (row,) in rows])
        placements: dict[str, list[FlagEvent]] = {FLAGS: [], SAFETY: []}
        withheld: list[FlagEvent] = []
        for event in events:
            datasets = self._datasets(event)
            for dataset in datasets:
                placements[dataset].append(event)
            if not datasets:
                withheld.append(event)
        self._place(placements, withheld)
        return len(events)

    def unconfirmed(self, dataset: str, most: int = 100) -> list[Segment]:
        """The oldest segments that the Hub is not known to have, as many as one commit should hold."""
        found: list[Segment] = []
        size = 0
        for name in self.unconfirmed_names(dataset)[:most]:
            segment = self.segment(dataset, name)
            size += len(segment.content)
            if found and size > MOST_BYTES_AT_ONCE:
                break
            found.append(segment)
        return found

    def segment(self, dataset: str, name: str) -> Segment:
        """A sealed segment, made again from its rows."""
        copy = self._copy(dataset, name)
        if copy.exists():
            return Segment(dataset, name, copy.read_bytes())
        with self._outbox.transaction() as connection:
            rows = connection.execute(
                "SELECT row FROM placed JOIN events USING (event_id) "
                "WHERE dataset = ? AND placed.segment = ? ORDER BY event_id",
                (dataset, name),
            ).fetchall()
        return Segment(dataset, name, _content(as_sent(dataset, row.encode()) for (row,) in rows))

    def take(self, dataset: str, name: str, content: bytes) -> int:
        """Makes a segment ours that another machine sealed and may not have sent; returns how many events.

        Each segment is taken once: 0 for one that is known. FlagError where a row is broken; then nothing is.
        """
        events = [from_row(line) for line in content.splitlines()]
        if self._knows(dataset, name):
            return 0
        if self._any_other_at_their_place(events):
            with writing(self._copy(dataset, name)) as file:
                file.write(content)
        with self._outbox.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO segments (dataset, name, sealed_at) VALUES (?, ?, ?)",
                (dataset, name, sealed_time(name).isoformat()),
            )
            for event in events:
                row = canonical_json(to_row(event)).decode()
                connection.execute(
                    "INSERT OR IGNORE INTO events (flag_id, revision, event_id, op, segment, row) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (event.flag_id, event.revision, event.event_id, event.op, name, row),
                )
                connection.execute(  # a row that came back with an older copy of the outbox is sealed now
                    "UPDATE events SET segment = ? WHERE event_id = ? AND segment = ''",
                    (name, event.event_id),
                )
                connection.execute(
                    "INSERT OR IGNORE INTO placed VALUES (?, ?, ?)", (event.event_id, dataset, name)
                )
        return len(events)

    def confirm(self, dataset: str, names: Iterable[str], commit: str) -> None:
        """From now on the Hub is known to have these segments, which this machine sent."""
        self._remember(dataset, names, commit, now())
        self.unhinder(dataset)

    def find(self, dataset: str, names: Iterable[str], commit: str) -> None:
        """Likewise, of segments that are there without our doing: no commit of this machine's day."""
        self._remember(dataset, names, commit, "")

    def confirmed(self, dataset: str, folder: str) -> frozenset[str]:
        """The names of all segments under a folder that the Hub is known to have."""
        with self._outbox.transaction() as connection:
            found = connection.execute(
                "SELECT name FROM segments WHERE dataset = ? AND at_commit != '' AND name GLOB ?",
                (dataset, f"{folder}/*"),
            ).fetchall()
        return frozenset(name for (name,) in found)

    def replica(self) -> str:
        """What this outbox is called in the names of its segments."""
        with self._outbox.transaction() as connection:
            return connection.execute("SELECT name FROM replica").fetchone()[0]

    def unhinder(self, place: str) -> None:
        """Nothing is in the way any more."""
        with self._outbox.transaction() as connection:
            connection.execute("DELETE FROM hindrances WHERE dataset = ?", (place,))

    def hinder(self, dataset: str, sentence: str) -> None:
        """Remembers why nothing goes up, for whoever asks; confirming forgets it."""
        with self._outbox.transaction() as connection:
            connection.execute("REPLACE INTO hindrances VALUES (?, ?, ?)", (dataset, sentence, now()))

    def commits_of_the_day(self, dataset: str) -> int:
        """How many commits this machine made to the dataset in the last 24 hours."""
        day_ago = datetime.now(UTC) - timedelta(days=1)
        with self._outbox.transaction() as connection:
            return connection.execute(
                "SELECT count(DISTINCT at_commit) FROM segments WHERE dataset = ? AND confirmed_at > ?",
                (dataset, day_ago.isoformat(timespec="milliseconds").replace("+00:00", "Z")),
            ).fetchone()[0]

    def commit_of(self, event_id: str) -> str:
        """The commit that holds the event, for its receipt; empty where the Hub is not known to have it.

        Of an event that turned its flag to safety the first dataset has only a withdrawal; the second has it.
        """
        with self._outbox.transaction() as connection:
            found = connection.execute(
                "SELECT at_commit FROM placed JOIN events USING (event_id) JOIN segments "
                "ON segments.dataset = placed.dataset AND segments.name = placed.segment "
                "WHERE event_id = ? AND (op != 'retract' OR at_commit != '') "
                "ORDER BY placed.dataset = ? DESC",
                (event_id, SAFETY),
            ).fetchone()
        return found[0] if found else ""

    def anything_to_seal(self) -> bool:
        with self._outbox.transaction() as connection:
            return bool(connection.execute(f"SELECT 1 FROM events WHERE {SEALABLE} LIMIT 1").fetchone())

    def course(self) -> Course:
        """How far everything has come."""
        with self._outbox.transaction() as connection:

            def one(query: str) -> int:
                return connection.execute(query).fetchone()[0]

            sealable = one(f"SELECT count(*) FROM events WHERE {SEALABLE}")
            unsealed = one("SELECT count(*) FROM events WHERE segment = ''")
            placed = dict(
                connection.execute(
                    "SELECT placed.dataset, count(*) FROM placed JOIN segments ON segments.dataset = "
                    "placed.dataset AND name = segment WHERE at_commit = '' GROUP BY placed.dataset"
                )
            )
            waiting = {FLAGS: placed.get(FLAGS, 0) + sealable, SAFETY: placed.get(SAFETY, 0)}
            newest = connection.execute(
                "SELECT at_commit FROM segments WHERE at_commit != '' ORDER BY confirmed_at DESC LIMIT 1"
            ).fetchone()
            return Course(
                without_consent=unsealed - sealable,
                waiting={dataset: count for dataset, count in waiting.items() if count},
                confirmed=one(
                    "SELECT count(DISTINCT event_id) FROM placed JOIN segments ON segments.dataset = "
                    "placed.dataset AND name = segment WHERE at_commit != ''"
                ),
                commit=newest[0] if newest else "",
                hindrances=dict(connection.execute("SELECT dataset, sentence FROM hindrances")),
            )

    def _datasets(self, event: FlagEvent) -> Sequence[str]:
        """The datasets that the event goes to; none: it never leaves.

        What was agreed to last decides for all that has not left yet: who says less later has said less.
        Of a withdrawn flag only the withdrawal leaves, to wherever something of it may be: where we placed
        it or, if it began on a replica whose disk we do not have, to both.
        """
        history = self._outbox.history(event.flag_id)
        if history[-1].op != "retract":
            covered = _covers(history[-1], event)
            return homes(event, history, self._where_placed(event.flag_id), covered)
        if event.op != "retract":
            return []
        placed = self._where_placed(event.flag_id)
        began_here = history[0].revision == 1
        return placed if placed or began_here else [FLAGS, SAFETY]

    def _where_placed(self, flag_id: str) -> list[str]:
        with self._outbox.transaction() as connection:
            found = connection.execute(
                "SELECT DISTINCT dataset FROM events JOIN placed USING (event_id) WHERE flag_id = ?",
                (flag_id,),
            )
            return sorted(dataset for (dataset,) in found)

    def _copy(self, dataset: str, name: str) -> Path:
        """Where the bytes of a segment lie whose rows do not all fit into the outbox."""
        return self._outbox.path.parent / "segments" / dataset / name

    def _knows(self, dataset: str, name: str) -> bool:
        with self._outbox.transaction() as connection:
            found = connection.execute(
                "SELECT 1 FROM segments WHERE dataset = ? AND name = ?", (dataset, name)
            ).fetchone()
        return bool(found)

    def _any_other_at_their_place(self, events: Sequence[FlagEvent]) -> bool:
        """Whether two machines gave a revision of some flag to different events."""
        return any(
            known.revision == event.revision and known.event_id != event.event_id
            for event in events
            for known in self._outbox.history(event.flag_id)
        )

    def _remember(self, dataset: str, names: Iterable[str], commit: str, confirmed_at: str) -> None:
        with self._outbox.transaction() as connection:
            connection.executemany(
                "INSERT INTO segments VALUES (?, ?, ?, ?, ?) ON CONFLICT (dataset, name) DO UPDATE SET "
                "at_commit = excluded.at_commit, confirmed_at = excluded.confirmed_at",
                [(dataset, name, sealed_time(name).isoformat(), commit, confirmed_at) for name in names],
            )

    def _place(self, placements: dict[str, list[FlagEvent]], withheld: Sequence[FlagEvent]) -> None:
        sealed_at, sealed = now(), []
        with self._outbox.transaction() as connection:
            [(replica,)] = connection.execute("SELECT name FROM replica")
            for dataset, events in placements.items():
                if not events:
                    continue
                content = _content(as_sent(dataset, canonical_json(to_row(one))) for one in _sorted(events))
                name = segment_name(FOLDER, sealed_at, replica, content)
                connection.execute(
                    "INSERT INTO segments (dataset, name, sealed_at) VALUES (?, ?, ?)",
                    (dataset, name, sealed_at),
                )
                connection.executemany(
                    "INSERT INTO placed VALUES (?, ?, ?)",
                    [(event.event_id, dataset, name) for event in events],
                )
                sealed += [(name, event.event_id) for event in events]
            sealed += [(WITHHELD, event.event_id) for event in withheld]
            connection.executemany("UPDATE events SET segment = ? WHERE event_id = ?", sealed)


def _covers(newest: FlagEvent, event: FlagEvent) -> bool:
    """Whether the newest consent of a flag reaches as far as that of an earlier event."""
    as_wide = SCOPES.index(newest.consent.scope) >= SCOPES.index(event.consent.scope)
    return as_wide and (newest.consent.training or not event.consent.training)


def sealed_time(name: str) -> datetime:
    """When a segment was sealed, from its name."""
    stamp = name.rsplit("/")[-1].partition("-")[0]
    return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)


def segment_name(folder: str, sealed_at: str, replica: str, content: bytes) -> str:
    """The name of a segment: the same content of the same moment has the same."""
    moment = datetime.fromisoformat(sealed_at)
    sha = hashlib.sha256(content).hexdigest()[:12]
    return f"{folder}/{moment:%Y-%m-%d}/{moment.strftime(STAMP)}-{replica}-{sha}.jsonl"


def is_segment(folder: str, path: str) -> bool:
    """Whether a path is the name of a segment in a folder: what lies elsewhere was put there by hand."""
    return path.startswith(folder) and bool(NAME.fullmatch(path.removeprefix(folder)))


@contextmanager
def _sole_sealer(outbox: Path) -> Iterator[None]:
    """Only one thread of one process seals at a time: two would put the same rows into two segments."""
    with open(outbox.with_name(f"{outbox.name}.seal.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _content(rows: Iterable[bytes]) -> bytes:
    return b"".join(row + b"\n" for row in rows)


def _sorted(events: Iterable[FlagEvent]) -> list[FlagEvent]:
    return sorted(events, key=lambda event: event.event_id)


def _first(rows: Sequence[str]) -> list[FlagEvent]:
    """The events of the first rows, as many as fit into a segment; at least one."""
    events: list[FlagEvent] = []
    size = 0
    for row in rows:
        size += len(row.encode()) + 1
        if events and size > MOST_BYTES:
            break
        events.append(from_row(row))
    return events
