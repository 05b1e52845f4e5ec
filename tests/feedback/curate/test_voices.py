"""Which contributors count as one: those who always say the same of the same items, and nobody else.

Command: pytest tests/feedback/curate/test_voices.py
Promise: nobody is joined by chance of a few corrections, by a chain, or out of sight by many of his own.
"""

from hypothesis import given
from hypothesis import strategies as st

from feedback.curate.voices import IN_COMMON, Said, is_one_voice, voices

CROWD = st.lists(
    st.builds(
        Said,
        st.sampled_from([f"person{n}" for n in range(12)]),
        st.sampled_from([b"1", b"2", b"3", b"4", b"5", b"6", b"7"]),
        st.sampled_from([b"yes", b"yes", b"no"]),
    ),
    max_size=90,
)


def saying(**corrections: str) -> list[Said]:
    """People and the items, one letter each, that they all correct in the same words."""
    return [Said(who, item.encode(), b"so") for who, items in corrections.items() for item in items]


def test_who_always_say_the_same_are_one_voice() -> None:
    assert voices(saying(ann="abcd", bob="abcd", cem="abc")) == {"ann": "ann", "bob": "ann", "cem": "ann"}


def test_two_corrections_in_common_join_nobody() -> None:
    assert voices(saying(ann="ab", bob="ab")) == {"ann": "ann", "bob": "bob"}


def test_who_say_as_much_else_as_they_share_are_two() -> None:
    others = saying(dan="defghi")
    assert voices([*saying(ann="abcdef", bob="abcghi"), *others])["bob"] == "bob"


def test_the_same_items_in_other_words_are_nothing_in_common() -> None:
    other = [Said("bob", item.encode(), b"no") for item in "abcd"]
    assert voices([*saying(ann="abcd"), *other])["bob"] == "bob"


def test_nobody_hides_behind_corrections_of_his_own() -> None:
    assert voices(saying(ann="abcd", bob="abcdBCDEFGHIJKLMNOP"))["bob"] == "ann"


def test_a_voice_is_no_chain() -> None:
    row = saying(ann="abcdef", bob="bcdefg", cem="cdefgh", dan="defghi", eve="efghij", fay="ai", gus="bj")
    found = voices(row)
    assert found["bob"] == "ann" and len({found[who] for who in ("ann", "cem", "dan", "eve")}) > 1


def test_a_thousand_names_are_one_voice_and_no_thousand_comparisons_each() -> None:
    crowd = [Said(f"name{n:04}", item.encode(), b"so") for n in range(1_000) for item in "abcdefgh"]
    assert set(voices(crowd).values()) == {"name0000"}


@given(CROWD)
def test_everybody_joins_the_first_who_says_the_same(said: list[Said]) -> None:
    """The search by rare corrections finds what comparing with everybody finds."""
    givers = {(item, text): {one for one, *what in said if what == [item, text]} for _, item, text in said}
    mine = {one: {what for what, them in givers.items() if one in them and len(them) > 1} for one, *_ in said}
    expected: dict[str, str] = {}
    for one in sorted(mine):
        speakers = (other for other in expected if expected[other] == other)
        expected[one] = next((other for other in speakers if is_one_voice(mine[one], mine[other])), one)
    assert voices(said) == expected
    assert all(len(mine[one]) >= IN_COMMON for one, speaker in expected.items() if speaker != one)
