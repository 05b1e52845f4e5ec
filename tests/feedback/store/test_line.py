"""The line that the outbox keeps: what `follow` and the canonical JSON make in two steps, made in one.

Command: pytest tests/feedback/store/test_line.py
Promise: no text, however it is spelt, gets into the place of the hash.
"""

from dataclasses import replace

import pytest

from backtalk.files import canonical_json
from feedback.redact import masked_event
from feedback.revisions import follow, numbered
from feedback.schema import FlagEvent, from_row, to_row
from feedback.store.line import lined
from feedback.store.saving import Choice, FlaggedMessage, draft

TRAPS = [
    "",
    '"content_hash":""',
    '\\"content_hash\\":\\"\\"',
    ',"content_hash":"",',
    "45 Tage, 10 \u20ac \U0001f600\n",
]


def masked(message: FlaggedMessage, comment: str) -> FlagEvent:
    return masked_event(draft(message, Choice("bad", ("outdated",), comment=comment)))


@pytest.mark.parametrize("comment", TRAPS)
def test_a_line_is_the_canonical_json_of_the_hashed_event(message: FlaggedMessage, comment: str) -> None:
    event, line = lined(numbered(masked(message, comment), None))
    assert event == follow(replace(event, content_hash="", revision=0), None)
    assert line.encode() == canonical_json(to_row(event))
    assert from_row(line) == event and event.comment == comment


def test_the_hash_that_an_event_came_with_does_not_matter(message: FlaggedMessage) -> None:
    event, line = lined(numbered(masked(message, "It is 45 days."), None))
    assert lined(replace(event, content_hash="0" * 64)) == (event, line)
