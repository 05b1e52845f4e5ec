"""The tables of the outbox, step by step as they came about: SQL, and nothing but SQL.

An outbox remembers by their names which steps were applied to it (its table `migrations`), so that one of an
earlier Backtalk is brought up to date when it is opened. Steps are added to, never changed.
"""

from collections.abc import Mapping

MAY_LEAVE = "(op = 'retract' OR json_extract(row, '$.consent.scope') != '')"  # as hub/segment.py asks
MIGRATIONS: Mapping[str, tuple[str, ...]] = {
    "events": (
        """
        CREATE TABLE events (
            seq INTEGER PRIMARY KEY,            -- the order of arrival
            flag_id TEXT NOT NULL,
            revision INTEGER NOT NULL,
            event_id TEXT NOT NULL,
            op TEXT NOT NULL,
            segment TEXT NOT NULL DEFAULT '',   -- the file that it was sealed into; empty: unsealed
            row TEXT NOT NULL,                  -- the event as canonical JSON
            UNIQUE (flag_id, revision)
        )
        """,
        "CREATE INDEX unsealed ON events (seq) WHERE segment = ''",
        """
        CREATE TRIGGER events_are_only_added
            BEFORE UPDATE OF seq, flag_id, revision, event_id, op, row ON events
            BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END
        """,
    ),
    "segments": (  # read and written by feedback/hub/segment.py
        "CREATE INDEX events_by_id ON events (event_id)",
        f"CREATE INDEX sealable ON events (seq) WHERE segment = '' AND {MAY_LEAVE}",
        """
        CREATE TABLE segments (
            dataset TEXT NOT NULL,              -- "flags" or "safety"
            name TEXT NOT NULL,                 -- the path in it
            sealed_at TEXT NOT NULL,
            at_commit TEXT NOT NULL DEFAULT '', -- the commit that holds it; empty: not confirmed yet
            confirmed_at TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (dataset, name)
        )
        """,
        "CREATE INDEX unconfirmed ON segments (dataset) WHERE at_commit = ''",
        """
        CREATE TABLE placed (                   -- an event may go to two datasets: a retraction does
            event_id TEXT NOT NULL,
            dataset TEXT NOT NULL,
            segment TEXT NOT NULL,
            PRIMARY KEY (event_id, dataset)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX placed_in_segment ON placed (dataset, segment)",
        "CREATE TABLE replica (name TEXT PRIMARY KEY)",
        "INSERT INTO replica VALUES (lower(hex(randomblob(4))))",
        "CREATE TABLE hindrances (dataset TEXT PRIMARY KEY, sentence TEXT NOT NULL, at TEXT NOT NULL)",
    ),
    # Each index is a page more that every save writes to the log and flushes: one serves both questions.
    "one index of the unsealed": (
        "DROP INDEX sealable",
        "DROP INDEX unsealed",
        f"CREATE INDEX unsealed ON events (segment, {MAY_LEAVE}) WHERE segment = ''",
    ),
}

BESIDE_EVENTS = ("segments", "placed", "replica")  # what else is carried over from a damaged file
