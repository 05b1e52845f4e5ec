"""Text as its tokens arrive: whole characters, and nothing of a stop string.

Command: .venv/bin/python -m pytest tests/backtalk/test_engine_spelling.py
Promise: whatever the borders between tokens are, the text shown is the same.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.engine.spelling import Spelling


def spell(pieces: list[bytes], stop: tuple[str, ...] = ()) -> list[str]:
    spelling = Spelling(stop)
    return [*(spelling.add(piece) for piece in pieces), spelling.rest()]


@given(st.text(max_size=40), st.lists(st.integers(0, 160), max_size=20))
def test_characters_split_over_tokens_are_shown_whole(text: str, borders: list[int]) -> None:
    spelled = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
    cuts = sorted({0, len(spelled), *(border for border in borders if border < len(spelled))})
    shown = spell([spelled[left:right] for left, right in zip(cuts, cuts[1:], strict=False)])
    assert "".join(shown) == spelled.decode()
    assert all(character in text for piece in shown for character in piece)


@given(st.text("ab\n", max_size=30), st.lists(st.integers(0, 30), max_size=12))
def test_a_stop_string_ends_the_text_wherever_tokens_end(text: str, borders: list[int]) -> None:
    cuts = sorted({0, len(text), *(border for border in borders if border < len(text))})
    pieces = [text[left:right].encode() for left, right in zip(cuts, cuts[1:], strict=False)]
    assert "".join(spell(pieces, ("ab\n", "bb"))) == text[: min(_places(text, ("ab\n", "bb")))]


def _places(text: str, words: tuple[str, ...]) -> list[int]:
    return [len(text), *(place for word in words if (place := text.find(word)) >= 0)]


def test_what_may_become_a_stop_string_waits_and_is_shown_when_it_does_not() -> None:
    assert spell([b"so\nUs", b"ual"], ("\nUser:",)) == ["so", "\nUsual", ""]
    assert spell([b"so\nUs"], ("\nUser:",)) == ["so", "\nUs"]


def test_half_a_character_at_the_end_is_one_replacement() -> None:
    assert spell([b"caf\xc3"]) == ["caf", "�"]


@pytest.mark.parametrize("stop", [(), ("",)])
def test_without_a_stop_string_nothing_waits(stop: tuple[str, ...]) -> None:
    assert spell([b"a", b"b"], stop) == ["a", "b", ""]
