"""What is sealed can be kept by a browser, and neither read nor changed nor taken from another.

Command: .venv/bin/python -m pytest tests/app/access/test_seal.py
Promise: only the same server, purpose and visitor open it; every flipped bit is noticed.
"""

import base64
from typing import Any

import pytest

from app.access.seal import seal, unseal
from backtalk.errors import TranscriptError

VALUE = {"a": "the shop's answer", "b": ["☂", 1.5]}


def test_what_was_sealed_comes_back_and_no_word_of_it_shows() -> None:
    text = seal("comparison", "visitor1", VALUE)
    assert unseal("comparison", "visitor1", text) == VALUE
    assert b"shop" not in base64.urlsafe_b64decode(text)
    assert text != seal("comparison", "visitor1", VALUE)


def test_texts_of_like_length_cannot_be_told_apart_by_the_length_of_their_seals() -> None:
    assert len({len(seal("comparison", "visitor1", "x" * length)) for length in range(2, 200)}) == 1


@pytest.mark.parametrize(("purpose", "visitor"), [("comparison", "visitor2"), ("receipt", "visitor1")])
def test_nobody_else_opens_it(purpose: str, visitor: str) -> None:
    with pytest.raises(TranscriptError):
        unseal(purpose, visitor, seal("comparison", "visitor1", VALUE))


def test_every_changed_byte_is_noticed() -> None:
    whole = base64.urlsafe_b64decode(seal("comparison", "visitor1", VALUE))
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        with pytest.raises(TranscriptError):
            unseal("comparison", "visitor1", base64.urlsafe_b64encode(changed).decode())


@pytest.mark.parametrize("text", [None, 7, "", "x", "é", "AAAA", {"a": 1}, "A" * 400])
def test_what_is_no_seal_is_refused_in_a_sentence(text: Any) -> None:
    with pytest.raises(TranscriptError, match="not made by this server"):
        unseal("comparison", "visitor1", text)


def test_another_secret_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = seal("comparison", "visitor1", VALUE)
    monkeypatch.setenv("BACKTALK_SECRET", "another secret of a server")
    with pytest.raises(TranscriptError):
        unseal("comparison", "visitor1", text)
