"""A conversation stays on one side, and no question is asked on both."""

from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.curate.candidate import Candidate
from feedback.curate.controls import pattern
from feedback.curate.split import find_leaks, split, spoken
from tests.feedback.events import flag

LONG = "please tell me how long i can keep a tent at home before i have to bring it back to your shop"
ASKED = st.lists(st.tuples(st.sampled_from("abcdefghijkl"), st.integers(0, 9)), min_size=1, max_size=60)


def candidate(conversation: str, question: str) -> Candidate:
    event = flag(question=question, conversation=conversation)
    return Candidate.of(event, pattern())


@settings(max_examples=50, deadline=None)
@given(ASKED, st.integers(0, 50))
def test_no_conversation_and_no_question_is_on_both_sides(asked: list[tuple[str, int]], seed: int) -> None:
    flags = [candidate(talk, f"What is thing {n}?") for talk, n in set(asked)]
    sides = split(flags, 0.4, seed)
    kept = [flag for flag in flags if flag.flag_id not in sides.left_out]
    for of in (lambda flag: flag.conversation, lambda flag: flag.prompt_key):
        assert all(
            sides.side[one.flag_id] == sides.side[other.flag_id]
            for one in kept
            for other in kept
            if of(one) == of(other)
        )


@settings(max_examples=20, deadline=None)
@given(ASKED, st.randoms())
def test_the_order_of_flags_changes_nothing(asked: list[tuple[str, int]], chance: object) -> None:
    flags = [candidate(talk, f"What is thing {n}?") for talk, n in sorted(set(asked))]
    before = split(flags, 0.4, 1)
    chance.shuffle(flags)  # type: ignore[attr-defined]
    assert split(flags, 0.4, 1) == before


def test_a_flag_elsewhere_moves_nothing() -> None:
    flags = [candidate(f"talk{n}", f"What is thing {n}?") for n in range(40)]
    before = split(flags[1:], 0.3, 1).side
    after = split(flags, 0.3, 1).side
    assert {name: after[name] for name in before} == before
    assert {"train", "eval"} == set(after.values())


def test_a_very_common_question_stays_where_most_ask_it() -> None:
    flags = [candidate(f"talk{n}", "Hello?") for n in range(100)]
    flags += [candidate(f"talk{n}", f"What is thing {n}?") for n in range(100)]
    sides = split(flags, 0.3, 1)
    assert set(sides.side.values()) == {"train", "eval"}
    hello = [flag for flag in flags[:100] if flag.flag_id not in sides.left_out]
    assert {sides.side[flag.flag_id] for flag in hello} == {"train"}
    assert len(hello) > 50


def test_leaks_are_found_exact_spelled_otherwise_and_nearly() -> None:
    held_out = [("e1", "user: Where are you?"), ("e2", f"user: {LONG}")]
    train = [
        ("t1", "user: Where are you?"),
        ("t2", "user: where ARE you"),
        ("t3", f"user: {LONG.replace('shop', 'store')}"),
        ("t4", "user: Where is my order?"),
    ]
    found = [(leak.train, leak.kind, leak.evaluation) for leak in find_leaks(train, held_out)]
    assert found == [("t1", "exact", "e1"), ("t2", "normalised", "e1"), ("t3", "near", "e2")]


def test_a_prompt_is_its_turns_without_the_system_prompt() -> None:
    event = flag(system="Be brief.", earlier=("Hi", "Hello!"))
    turns = Candidate.of(event, pattern()).turns
    assert spoken(turns).split("\n")[:2] == ["user: Hi", "assistant: Hello!"]
