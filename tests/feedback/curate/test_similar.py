"""What counts as the same text, and as nearly the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.curate import similar
from feedback.curate.similar import Text, are_near, first_alike, groups, normalised, numbers

LONG = "you can send any tent back to us within some weeks if it was not used and still has its labels"
WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g"]), min_size=1, max_size=14).map(" ".join)
TEXTS = st.lists(st.builds(Text, WORDS, st.sampled_from(["", "x"])), max_size=24)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is my order?", "  where is MY order "),
        ("\uff37here is it", "Where is it!"),
        ("stra\u00dfe", "STRASSE"),
        ("\u201cYes.\u201d", "yes"),
    ],
)
def test_spelling_does_not_count(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


def test_a_decimal_point_counts() -> None:
    assert normalised("It costs 4.5 euros.") != normalised("It costs 45 euros.")


def test_one_changed_word_of_twenty_is_near() -> None:
    assert are_near(Text(LONG), Text(LONG.replace("labels", "tags")))


def test_another_number_is_never_near() -> None:
    assert not are_near(Text(f"{LONG} 30 days"), Text(f"{LONG} 60 days"))


def test_numbers_are_the_words_with_a_digit() -> None:
    assert numbers("use TENT20 within 4.5 days, at 10:30; not tent or x") == ("TENT20", "4", "5", "10", "30")


def test_another_border_is_never_near() -> None:
    assert not are_near(Text(LONG, "good"), Text(LONG, "bad"))


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_first_alike_is_what_comparing_all_with_all_gives(texts: list[Text]) -> None:
    kept: list[int] = []
    expected = []
    for place, text in enumerate(texts):
        alike = next((one for one in kept if are_near(text, texts[one])), place)
        kept += [place] * (alike == place)
        expected.append(alike)
    assert first_alike(texts) == expected


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_groups_join_every_chain_of_near_texts(texts: list[Text]) -> None:
    found = groups(texts)
    near = [(a, b) for a in range(len(texts)) for b in range(a) if are_near(texts[a], texts[b])]
    first = list(range(len(texts)))
    for _ in texts:
        for a, b in near:
            first[a] = first[b] = min(first[a], first[b])
    assert found == first


def test_of_many_texts_in_one_group_each_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(similar, "are_near", lambda one, other: not compared.append((one, other)))
    assert groups([Text(LONG)] * 50) == [0] * 50
    assert len(compared) == 49
