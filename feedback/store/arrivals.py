"""What arrived in an outbox since one last looked: of each event the few columns that an index is kept of.

    for one in arrivals(outbox, after=seq): ...     in the order of arrival, a page at a time

A whole event takes long to read and is read where it is shown; who counts or looks up reads these.
"""

from collections.abc import Iterator
from typing import NamedTuple

from feedback.store.outbox import Outbox

PAGE = 200  # rows: others can save between two pages


class Arrival(NamedTuple):
    """An event in passing; `extras` as it is packed in the row."""

    seq: int
    flag_id: str
    op: str
    contributor: str
    extras: str
    model: str
    round: int
    sha256: str


ROWS = """
    SELECT seq, flag_id, op, json_extract(row, '$.contributor.pseudonym'), json_extract(row, '$.extras'),
        json_extract(row, '$.model.name'), json_extract(row, '$.model.round'),
        json_extract(row, '$.model.gguf_sha256')
    FROM events WHERE seq > ? ORDER BY seq LIMIT ?
"""


def arrivals(outbox: Outbox, after: int) -> Iterator[Arrival]:
    """The events behind the place `after`; 0: all of them."""
    while True:
        with outbox.transaction() as connection:
            rows = connection.execute(ROWS, (after, PAGE)).fetchall()
        yield from (Arrival(*row) for row in rows)
        if len(rows) < PAGE:
            return
        after = rows[-1][0]


def newest(outbox: Outbox) -> int:
    """The place of the last event; lower than before where the file was made anew."""
    with outbox.transaction() as connection:
        return int(connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])
