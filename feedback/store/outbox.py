"""The outbox: flag events in SQLite on the local disk, each on the disk before anyone hears "saved".

    outbox = Outbox(home() / "outbox.sqlite")
    receipt = outbox.save(event)        masked, numbered, checked, committed and flushed
    outbox.current(flag_id)             the event that stands, or None

Events are only ever added. Any number of threads and processes may save at once; a repeated event is
harmless. A failure is one `OutboxError`, and then nothing was acknowledged. A damaged file is moved aside,
never deleted, and what can still be read of it is carried over; `outbox.notice` says so.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from backtalk.errors import FlagError, OutboxError
from backtalk.files import sync_folder
from backtalk.home import on_space
from feedback.redact import masked_event
from feedback.schema import FlagEvent, flag_id, from_row, now
from feedback.store.layout import BESIDE_EVENTS, MIGRATIONS
from feedback.store.line import Line, next_line

NAME = "outbox.sqlite"
WAIT_SECONDS = 10.0  # for another process that is writing
TRIES = 3  # when the file is replaced while it is in use
PAGE = 500  # rows that a reader holds at once
NEWEST = "flag_id = ? ORDER BY revision DESC LIMIT 1"

FAILURES = {
    sqlite3.SQLITE_FULL: "the disk is full. Free some space and save again",
    sqlite3.SQLITE_READONLY: "it may only be read. Make the file and its folder writable and save again",
    sqlite3.SQLITE_PERM: "it may not be opened. Make the file and its folder writable and save again",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened. Check that its folder exists and is writable",
    sqlite3.SQLITE_BUSY: "another process has been writing to it for too long. Save again in a moment",
    sqlite3.SQLITE_NOTADB: "it is not a database. Move the file away and start again",
    sqlite3.SQLITE_CORRUPT: "it is damaged. Start again: it is then moved aside and its flags carried over",
    sqlite3.SQLITE_IOERR: "the disk reports an error. Check it and save again",
}
FOR_VISITORS = {sqlite3.SQLITE_FULL: "disk_full", sqlite3.SQLITE_BUSY: "outbox_busy"}
"""The names of failures that somebody who flags can act on; the others are for whoever runs the server."""


@dataclass(frozen=True)
class Receipt:
    """What was saved, once it is on disk. `repeated`: it was there already, and nothing was added."""

    event: FlagEvent
    repeated: bool = False

    @property
    def flag_id(self) -> str:
        return self.event.flag_id

    @property
    def revision(self) -> int:
        return self.event.revision

    @property
    def sentence(self) -> str:
        """Where the flag is, in words for the person who flagged."""
        if self.event.op == "retract":
            return "Withdrawn."
        return "Received." if on_space() else "Saved on this machine."


@dataclass(frozen=True)
class Counts:
    """How much is in the outbox."""

    events: int
    flags: int
    standing: int
    unsealed: int


class Outbox:
    """The flag events of one machine. A crash at any moment loses nothing that was acknowledged."""

    def __init__(self, path: Path, wait: float = WAIT_SECONDS):
        self.path = path
        self.notice = ""
        self._wait = wait
        self._lock = RLock()  # one connection, used by one thread at a time
        with self._lock, _calmly(path):
            self._open()

    def save(self, event: FlagEvent, keep: Iterable[str] = ()) -> Receipt:
        """Stores the event as the next of its flag; returns when it would survive a power cut.

        Columns in `keep` are taken from the event before, see `follow`. Raises FlagError or OutboxError.
        """
        masked, keep = masked_event(event), tuple(keep)
        for _ in range(TRIES):
            line = next_line(masked, self._last(masked), keep)  # nobody waits for the file meanwhile
            with self._lock, _calmly(self.path):
                self._reopen_if_replaced()
                receipt = self._store(line, masked, keep)
                if self._is_in_place():
                    return receipt
        raise OutboxError(
            f"The flag could not be saved in {self.path}: the file is being replaced. Save again."
        ).called("outbox_busy")

    def current(self, name: str) -> FlagEvent | None:
        """The event that stands for this flag; None where there is none or it was withdrawn."""
        last = self._select(f"SELECT row FROM events WHERE {NEWEST}", name)
        event = from_row(last[0][0]) if last else None
        return event if event and event.op != "retract" else None

    def flags_of(self, contributor: str, message_ids: Iterable[str]) -> dict[str, FlagEvent]:
        """What this contributor's flags on these messages are, by message: what the page shows again."""
        found = {message: self.current(flag_id(contributor, message)) for message in message_ids}
        return {message: event for message, event in found.items() if event}

    def history(self, name: str) -> list[FlagEvent]:
        """All events of a flag, the first one first."""
        rows = self._select("SELECT row FROM events WHERE flag_id = ? ORDER BY revision", name)
        return [from_row(row) for (row,) in rows]

    def find(self, prefix: str) -> list[str]:
        """The ids of the flags that begin with `prefix`, at most ten."""
        rows = self._select(
            "SELECT DISTINCT flag_id FROM events WHERE flag_id >= ?1 AND flag_id < ?1 || 'g' LIMIT 10",
            prefix.lower(),
        )
        return [name for (name,) in rows]

    def events(self) -> Iterator[FlagEvent]:
        """Every event in the order of arrival."""
        seq = 0
        while rows := self._select(
            f"SELECT seq, row FROM events WHERE seq > ? ORDER BY seq LIMIT {PAGE}", seq
        ):
            yield from (from_row(row) for _, row in rows)
            seq = rows[-1][0]

    def standing(self) -> Iterator[FlagEvent]:
        """The event that stands for each flag, the newest first; withdrawn flags are left out."""
        seq = 2**62
        while rows := self._select(
            "SELECT seq, row FROM events AS event WHERE seq < ? AND op != 'retract' AND revision = "
            "(SELECT max(revision) FROM events WHERE flag_id = event.flag_id) "
            f"ORDER BY seq DESC LIMIT {PAGE}",
            seq,
        ):
            yield from (from_row(row) for _, row in rows)
            seq = rows[-1][0]

    def counts(self) -> Counts:
        """How many events and flags there are, and how many events were not sealed yet."""
        events, flags, unsealed = self._select(
            "SELECT count(*), count(DISTINCT flag_id), count(*) FILTER (WHERE segment = '') FROM events"
        )[0]
        withdrawn = self._select(
            "SELECT count(*) FROM events AS event WHERE op = 'retract' AND revision = "
            "(SELECT max(revision) FROM events WHERE flag_id = event.flag_id)"
        )[0][0]
        return Counts(events, flags, flags - withdrawn, unsealed)

    def forget(self, name: str) -> int:
        """Deletes the events of a flag that hold a text, so that no byte of it stays; returns how many.

        Its withdrawal stays. Raises OutboxError while another process keeps old pages in use.
        """
        with self._lock, _calmly(self.path):
            self._reopen_if_replaced()
            with _transaction(self._connection) as connection:
                chosen = "FROM events WHERE flag_id = ? AND op != 'retract'"
                connection.execute(
                    f"DELETE FROM placed WHERE event_id IN (SELECT event_id {chosen})", (name,)
                )
                connection.execute(
                    "DELETE FROM segments WHERE at_commit = '' AND NOT EXISTS (SELECT 1 FROM placed "
                    "WHERE placed.dataset = segments.dataset AND segment = segments.name)"
                )
                gone = connection.execute(f"DELETE {chosen}", (name,)).rowcount
            self._connection.execute("VACUUM")  # pages are written anew; what was free is not carried over
            if self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise OutboxError(
                    f"The outbox {self.path} is being read by another process, and its log still holds what "
                    "was deleted. Stop that process and do it again."
                )
        return gone

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction on the file, whole or not at all: for feedback/hub/segment.py."""
        with self._lock, _calmly(self.path):
            self._reopen_if_replaced()
            with _transaction(self._connection) as connection:
                yield connection

    def close(self) -> None:
        with self._lock, suppress(sqlite3.Error):
            self._connection.close()

    def _last(self, draft: FlagEvent) -> FlagEvent | None:
        with self._lock, _calmly(self.path):
            self._reopen_if_replaced()
            return _find(self._connection, NEWEST, draft.flag_id)

    def _store(self, line: Line, draft: FlagEvent, keep: tuple[str, ...]) -> Receipt:
        """Inserts the line, made anew where the event that it was to follow is the last one no more."""
        with _transaction(self._connection) as connection:
            name = draft.flag_id
            found = connection.execute(f"SELECT event_id FROM events WHERE {NEWEST}", (name,)).fetchone()
            if found and (known := _find(connection, "flag_id = ? AND event_id = ?", name, draft.event_id)):
                return Receipt(known, repeated=True)
            if line.after != (found[0] if found else ""):
                line = next_line(draft, _find(connection, NEWEST, name), keep)
            if line.text:
                _insert(connection, line.event, line.text)
        return Receipt(line.event, repeated=not line.text)

    def _select(self, query: str, *values: object) -> list[tuple]:
        with self._lock, _calmly(self.path):
            self._reopen_if_replaced()
            return self._connection.execute(query, values).fetchall()

    def _is_in_place(self) -> bool:
        """False where the file was moved or deleted under us: what is written to it would never be found."""
        try:
            return os.path.samestat(os.stat(self.path), self._opened)
        except FileNotFoundError:
            return False

    def _reopen_if_replaced(self) -> None:
        if self._is_in_place():
            return
        with suppress(sqlite3.Error):  # what the log still holds goes into the file, wherever it is now
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        self._open()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _sole_opener(self.path):
            if not self.path.exists():
                _move_aside(self.path)  # a log that lost its file would be deleted by SQLite
            connection = _connect_if_sound(self.path, self._wait) or self._replace_damaged()
            _migrate(connection, self.path)
            self._connection, self._opened = connection, os.stat(self.path)
            sync_folder(self.path.parent)

    def _replace_damaged(self) -> sqlite3.Connection:
        aside = _move_aside(self.path)
        connection = _connect(self.path, self._wait)
        _migrate(connection, self.path)
        saved = _carry_over(aside, connection)
        self.notice = (
            f"The outbox {self.path} was damaged. It was moved to {aside.name}, and the {saved} events that "
            "could be read were carried over. Keep that file: more may be recovered from it by hand."
        )
        return connection


def _connect_if_sound(path: Path, wait: float) -> sqlite3.Connection | None:
    """A connection to a database whose pages hold together; None where it is damaged."""
    try:
        connection = _connect(path, wait)
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok":
            return connection
    except sqlite3.DatabaseError as fault:
        if _code(fault) != sqlite3.SQLITE_CORRUPT:
            raise
        return None
    connection.close()
    return None


def _connect(path: Path, wait: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
    try:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise OutboxError(
                f"The outbox {path} needs a local disk that can share memory. Choose another folder."
            )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS flushes its disk's cache only when asked so
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    with _transaction(connection):
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, at TEXT NOT NULL)")
        applied = {name for (name,) in connection.execute("SELECT name FROM migrations")}
        if unknown := applied - MIGRATIONS.keys():
            raise OutboxError(
                f"The outbox {path} was written by a newer Backtalk ({', '.join(sorted(unknown))}). "
                "Use that version, or another folder."
            )
        for name in [name for name in MIGRATIONS if name not in applied]:
            for statement in MIGRATIONS[name]:
                connection.execute(statement)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", (name, now()))


def _find(connection: sqlite3.Connection, where: str, *values: str) -> FlagEvent | None:
    found = connection.execute(f"SELECT row FROM events WHERE {where}", values).fetchone()
    return from_row(found[0]) if found else None


def _insert(connection: sqlite3.Connection, event: FlagEvent, line: str, segment: str = "") -> None:
    connection.execute(
        "INSERT INTO events (flag_id, revision, event_id, op, segment, row) VALUES (?, ?, ?, ?, ?, ?)",
        (event.flag_id, event.revision, event.event_id, event.op, segment, line),
    )


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One transaction that holds the right to write from its beginning, so that what it read stays true."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _sole_opener(path: Path) -> Iterator[None]:
    """Only one process at a time opens, migrates or moves aside: the second must not move the first one's."""
    with open(path.with_name(f"{path.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _calmly(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as fault:
        reason = FAILURES.get(_code(fault), f"SQLite says: {fault}")
        name = FOR_VISITORS.get(_code(fault), "")
        raise OutboxError(f"The outbox {path} does not take this: {reason}.").called(name) from fault
    except OSError as fault:
        raise OutboxError(
            f"The outbox {path} cannot be used ({fault.strerror}). Check its folder."
        ) from fault


def _code(fault: sqlite3.Error) -> int:
    """The primary result code: the low byte, whatever detail SQLite adds above it."""
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF


def _move_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.aside-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}")
    # The file goes last: without it, SQLite would read its log into the new one.
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    return aside


def _carry_over(aside: Path, connection: sqlite3.Connection) -> int:
    """Copies the events that can be read, from both ends towards the damage; returns how many."""
    found: dict[int, tuple[FlagEvent, str, str]] = {}
    beside: dict[str, list[tuple]] = {}
    with suppress(sqlite3.Error), closing(sqlite3.connect(aside)) as damaged:
        damaged.execute("PRAGMA writable_schema = ON")  # a file that was cut short is then read all the same
        for order in ("ASC", "DESC"):
            with suppress(sqlite3.Error):
                for seq, segment, row in damaged.execute(
                    f"SELECT seq, segment, row FROM events NOT INDEXED ORDER BY seq {order}"
                ):
                    with suppress(FlagError):
                        found.setdefault(seq, (from_row(row), row, segment))
        beside = {table: _readable(damaged, table) for table in BESIDE_EVENTS}
    with _transaction(connection):
        for seq in sorted(found):
            _insert(connection, *found[seq])
        for table, rows in beside.items():
            if rows:
                connection.execute(f"DELETE FROM {table}")
                marks = ", ".join("?" * len(rows[0]))
                connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)
    return len(found)


def _readable(damaged: sqlite3.Connection, table: str) -> list[tuple]:
    rows: list[tuple] = []
    with suppress(sqlite3.Error):
        rows.extend(damaged.execute(f"SELECT * FROM {table}"))
    return rows
