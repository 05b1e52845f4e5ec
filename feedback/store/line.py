"""The line of an event: the canonical JSON that the outbox keeps and a segment holds, encoded once.

    line = next_line(draft, last)     numbered, checked, encoded: what the outbox inserts as it is
    event, text = lined(event)

Encoding is what a save costs most beside its flush, and the hash is taken over the same line with an empty
`content_hash`: so the hash goes into the line that it was taken of.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from backtalk.files import canonical_json
from feedback.revisions import numbered, says_the_same
from feedback.schema import FlagEvent, check_rules, to_row

UNHASHED = b'"content_hash":""'  # no text can hold it: its quotes would be escaped


@dataclass(frozen=True, slots=True)
class Line:
    """An event and its text, ready to be stored after the event `after` (an id; empty: as the flag's first).

    The text is empty where there is nothing to store: the event stands already."""

    event: FlagEvent
    text: str
    after: str


def next_line(draft: FlagEvent, last: FlagEvent | None, keep: Iterable[str] = ()) -> Line:
    """What stands after `last` once the masked draft is stored, see `numbered`. Raises FlagError."""
    event = numbered(draft, last, keep)
    if last and says_the_same(event, last):
        return Line(last, "", last.event_id)
    check_rules(event)
    return Line(*lined(event), last.event_id if last else "")


def lined(event: FlagEvent) -> tuple[FlagEvent, str]:
    """The event with its `content_hash`, and its line; what hash the event came with does not matter."""
    unhashed = canonical_json(to_row(event) | {"content_hash": ""})
    name = hashlib.sha256(unhashed).hexdigest()
    line = unhashed.replace(UNHASHED, UNHASHED[:-1] + name.encode() + b'"', 1)
    return replace(event, content_hash=name), line.decode()
