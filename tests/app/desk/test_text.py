"""What cannot be stored goes; what can be read stays."""

from hypothesis import given
from hypothesis import strategies as st

from app.desk.text import clean


def test_null_bytes_go_and_lone_surrogates_are_marked() -> None:
    assert clean("a\x00b\ud800c") == "ab\N{REPLACEMENT CHARACTER}c"


def test_right_to_left_text_emoji_and_line_ends_stay() -> None:
    assert clean("שלום 👩‍👩‍👧\r\nمرحبا\ttab") == "שלום 👩‍👩‍👧\nمرحبا\ttab"


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_cleaned_text_can_always_be_written_and_stays_as_it_is(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert clean(cleaned) == cleaned
