"""A flag that turns to safety leaves the first dataset: withdrawn there, it lives on in the second one.

    homes(event, history, placed, covered)     ["flags", "safety"] for the event that turns it
    as_sent("flags", row)                      of that event the first dataset gets a withdrawal, without text

The withdrawal has the revision before that of the event, and among equal revisions a withdrawal wins. So the
flag is gone for a reader of the first dataset, and a reader of both folds the events into the one flag that
stands. It follows from the event alone: it is made again, byte for byte, whenever its segment is.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from hashlib import blake2b

from backtalk.files import canonical_json
from feedback.hub.dataset import FLAGS, SAFETY, home_of
from feedback.revisions import withdrawal
from feedback.schema import FlagEvent, content_hash, from_row, to_row

UNSAFE = b'"direction":"safety"'  # in a row it is never part of a text: there each quote has a backslash
KEPT_OF_ID = len("01234567-89ab-7def-8123-")  # the time and some chance: rows stay sorted by their ids
NEW_OF_ID = 6  # bytes


def homes(
    event: FlagEvent, history: Sequence[FlagEvent], placed: Collection[str], covered: bool
) -> list[str]:
    """The datasets that an event of a standing flag goes to.

    `placed`: where something of the flag went; `covered`: whether the newest consent reaches to this event.
    A withdrawal holds nothing that consent could be needed for, so it goes even where the event stays.
    """
    stays = [home_of(history)] if covered else []
    return [FLAGS, *stays] if _turns(event, history, placed) else stays


def as_sent(dataset: str, row: bytes) -> bytes:
    """The row as this dataset gets it. FlagError where it is no event."""
    if dataset != FLAGS or UNSAFE not in row:
        return row
    return canonical_json(to_row(departure(from_row(row))))


def departure(event: FlagEvent) -> FlagEvent:
    """The withdrawal of all that was before this event, which is not the flag's first."""
    bare = replace(
        withdrawal(event),
        event_id=_id_after(event.event_id),
        created_at=event.created_at,
        revision=event.revision - 1,
    )
    return replace(bare, content_hash=content_hash(bare))


def _turns(event: FlagEvent, history: Sequence[FlagEvent], placed: Collection[str]) -> bool:
    """Whether this is the event after which nothing of the flag may stay in the first dataset.

    Where the flag began on a replica whose disk we do not have, something of it may be there.
    """
    first = next((one for one in history if home_of([one]) == SAFETY and one.consent.scope), None)
    may_be_there = FLAGS in placed or history[0].revision > 1
    return first is not None and event.event_id == first.event_id and event.revision > 1 and may_be_there


def _id_after(event_id: str) -> str:
    """Another id, always the same one."""
    return event_id[:KEPT_OF_ID] + blake2b(event_id.encode(), digest_size=NEW_OF_ID).hexdigest()
