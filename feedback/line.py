"""The line of an event: the canonical JSON that the outbox keeps and a segment holds, encoded once.

    event, line = lined(numbered(draft, last))

Encoding is what a save costs most beside its flush, and the hash is taken over the same line with an empty
`content_hash`: so the hash goes into the line that it was taken of.
"""

import hashlib
from dataclasses import replace

from backtalk.files import canonical_json
from feedback.schema import FlagEvent, to_row

UNHASHED = b'"content_hash":""'  # no text can hold it: its quotes would be escaped


def lined(event: FlagEvent) -> tuple[FlagEvent, str]:
    """The event with its `content_hash`, and its line; what hash the event came with does not matter."""
    unhashed = canonical_json(to_row(event) | {"content_hash": ""})
    name = hashlib.sha256(unhashed).hexdigest()
    line = unhashed.replace(UNHASHED, UNHASHED[:-1] + name.encode() + b'"', 1)
    return replace(event, content_hash=name), line.decode()
