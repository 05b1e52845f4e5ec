"""JSON from outside: what nothing behind could hold is refused or mended at once.

Command: pytest tests/app/access/test_incoming.py
Promise: what is understood can be written again, and every text of it can be stored.
"""

import json

import pytest

from app.access.incoming import MOST_NESTED, understood, written


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 5_000 + b"}"])
def test_what_is_no_json_is_refused_in_one_sentence(body: bytes) -> None:
    with pytest.raises(ValueError, match="is not JSON"):
        understood(body)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_bounded_however_it_is_spelled(opening: str, closing: str) -> None:
    def nested(levels: int) -> bytes:
        return f"{opening * levels}1{closing * levels}".encode()

    assert json.loads(written(understood(nested(MOST_NESTED)))) == json.loads(nested(MOST_NESTED))
    for levels in (MOST_NESTED + 1, 400, 900):
        with pytest.raises(ValueError, match="levels deep"):
            understood(nested(levels))


def test_half_a_character_becomes_a_mark_and_a_whole_one_stays() -> None:
    value = understood(rb'{"\ud800": ["a\udfffb", "\ud83d\ude00", "\u00e9"]}')
    assert json.loads(written(value)) == {"\ufffd": ["a\ufffdb", "\U0001f600", "é"]}
