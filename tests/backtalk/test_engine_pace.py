"""Which prompts are read in a step, and how much of them.

Command: .venv/bin/python -m pytest tests/backtalk/test_engine_pace.py
Promise: a step stays as long as it should, short prompts are read before long ones, and long ones are read.
"""

from dataclasses import dataclass

import pytest

from backtalk.engine.pace import READ_SECONDS, TILES, TILES_ALONE, Pace, cut, share_out
from backtalk.engine.weights import LARGEST_BATCH


@dataclass
class Prompt:
    unread: int
    due: float


@pytest.mark.parametrize("speed", [2000.0, 5000.0, 9000.0])
def test_a_slice_takes_as_long_as_it_may_and_not_longer(speed: float) -> None:
    pace = Pace()
    for _ in range(12):
        pace.measured(TILES[0], TILES[0] / speed)
    assert 0.5 * READ_SECONDS < pace.slice(amid_words=True) / speed <= READ_SECONDS


def test_a_slice_is_whole_tiles_and_tiles_shrink_only_where_reading_is_slow() -> None:
    tiles = []
    for speed in (5000.0, 145.0, 60.0, 30.0, 2.0):
        pace = Pace()
        pace.measured(64, 64 / speed)
        tile = pace.tile(amid_words=True)
        assert pace.slice(amid_words=True) % tile == 0 < pace.slice(amid_words=True)
        tiles.append(tile)
    assert tiles == [64, 64, 32, 16, 16]


@pytest.mark.parametrize("speed", [5000.0, 145.0, 2.0])
def test_tiles_stay_whole_and_a_step_reads_several_where_no_words_stand_still(speed: float) -> None:
    pace = Pace()
    pace.measured(64, 64 / speed)
    assert pace.tile(amid_words=False) == TILES[0]
    assert pace.slice(amid_words=False) >= TILES_ALONE * TILES[0]


def test_calls_end_where_tiles_end_and_the_rest_of_a_prompt_is_a_call_of_its_own() -> None:
    at, calls, tokens = 70, list[int](), 1000
    while tokens:
        calls.append(cut(at, tokens, 64))
        at, tokens = at + calls[-1], tokens - calls[-1]
    assert calls == [58, LARGEST_BATCH, 384, 46]


def test_the_last_tokens_of_a_prompt_say_nothing_about_the_speed() -> None:
    pace = Pace()
    pace.measured(64, 0.1)
    before = pace.seconds_a_token
    pace.measured(TILES[-1] - 1, 10.0)
    assert pace.seconds_a_token == before


def test_what_is_due_first_is_read_first_and_the_rest_of_the_slice_goes_to_the_next() -> None:
    late, soon = Prompt(500, due=9.0), Prompt(30, due=2.0)
    assert share_out([late, soon], 100) == [(soon, 30), (late, 70)]
    assert share_out([late, soon], 20) == [(soon, 20)]


def test_a_long_prompt_is_not_overtaken_for_ever() -> None:
    pace = Pace()
    pace.measured(100, 1.0)
    long = pace.due(4000, asked_at=0.0)
    assert pace.due(40, asked_at=1.0) < long < pace.due(40, asked_at=long)
