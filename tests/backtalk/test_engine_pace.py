"""Which prompts are read in a step, and how much of them.

Command: .venv/bin/python -m pytest tests/backtalk/test_engine_pace.py
Promise: a step stays as long as it should, short prompts are read before long ones, and long ones are read.
"""

from dataclasses import dataclass

import pytest

from backtalk.engine.pace import CALL, GRAIN, LARGEST_CALL, READ_SECONDS, WORTH_READING, Pace, cut, share_out
from backtalk.engine.weights import LARGEST_BATCH


@dataclass
class Prompt:
    unread: int
    due: float


def took(tokens: int, speed: float) -> float:
    """Seconds of a call that reads so many tokens, at so many a second."""
    return (tokens + CALL) / speed


@pytest.mark.parametrize("speed", [2000.0, 5000.0, 9000.0])
def test_a_slice_takes_as_long_as_it_may_and_not_longer(speed: float) -> None:
    pace = Pace()
    for _ in range(12):
        pace.measured(WORTH_READING, took(WORTH_READING, speed))
    seconds = took(pace.slice(amid_words=True, alone=False), speed)
    assert 0.9 * READ_SECONDS < seconds <= READ_SECONDS


@pytest.mark.parametrize(
    ("speed", "tokens"), [(5000.0, 488), (145.0, 64), (60.0, 24), (30.0, 8), (2.0, 8)], ids=str
)
def test_where_reading_is_slow_a_slice_is_fewer_grains_and_one_at_least(speed: float, tokens: int) -> None:
    pace = Pace()
    pace.measured(64, took(64, speed))
    assert pace.slice(amid_words=True, alone=False) == tokens
    assert tokens % GRAIN == 0


def test_a_slice_grows_again_with_the_speed() -> None:
    pace = Pace()
    slices = []
    for speed in (2.0, *[145.0] * 12):
        read = slices[-1] if slices else WORTH_READING
        pace.measured(read, took(read, speed))
        slices.append(pace.slice(amid_words=True, alone=False))
    assert slices == sorted(slices)
    assert (slices[0], slices[-1]) == (GRAIN, WORTH_READING)


@pytest.mark.parametrize("speed", [5000.0, 145.0, 2.0])
def test_who_is_alone_is_read_in_the_largest_calls_and_who_is_not_leaves_room_for_shorter_ones(
    speed: float,
) -> None:
    pace = Pace()
    pace.measured(64, took(64, speed))
    assert pace.slice(amid_words=False, alone=True) >= LARGEST_CALL
    assert WORTH_READING <= pace.slice(amid_words=False, alone=False) <= max(WORTH_READING, 0.1 * speed)


@pytest.mark.parametrize("most", [GRAIN, 24, LARGEST_CALL])
@pytest.mark.parametrize("tokens", [5, 8, 15, 16, 100, 127, 128, 1003])
def test_however_a_prompt_is_cut_no_call_is_smaller_than_a_grain_or_larger_than_a_batch(
    tokens: int, most: int
) -> None:
    calls, unread = list[int](), tokens
    while unread:
        calls.append(cut(unread, most))
        unread -= calls[-1]
    assert sum(calls) == tokens
    assert min(calls) >= min(GRAIN, tokens)
    assert max(calls) < most + GRAIN <= LARGEST_BATCH


def test_the_last_tokens_of_a_prompt_say_nothing_about_the_speed() -> None:
    pace = Pace()
    pace.measured(64, 0.1)
    before = pace.seconds_a_token
    pace.measured(GRAIN - 1, 10.0)
    assert pace.seconds_a_token == before


def test_what_is_due_first_is_read_first_and_the_rest_of_the_slice_goes_to_the_next() -> None:
    late, soon = Prompt(500, due=9.0), Prompt(30, due=2.0)
    assert share_out([late, soon], 100) == [(soon, 30), (late, 64)]
    assert share_out([late, soon], 22) == [(soon, 16)]
    assert share_out([late, soon], 24) == [(soon, 30)]


def test_a_long_prompt_is_not_overtaken_for_ever() -> None:
    pace = Pace()
    pace.measured(100, 1.0)
    long = pace.due(4000, asked_at=0.0)
    assert pace.due(40, asked_at=1.0) < long < pace.due(40, asked_at=long)
