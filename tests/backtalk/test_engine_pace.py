"""Which prompts are read in a step, and how much of them.

Command: .venv/bin/python -m pytest tests/backtalk/test_engine_pace.py
Promise: a step stays as long as it should, short prompts are read before long ones, and long ones are read.
"""

from dataclasses import dataclass

import pytest

from backtalk.engine.pace import ALONE_SECONDS, SHARED_SECONDS, SMALLEST_SLICE, Pace, share_out


@dataclass
class Prompt:
    unread: int
    due: float


@pytest.mark.parametrize(("writers", "seconds"), [(0, ALONE_SECONDS), (4, SHARED_SECONDS)])
@pytest.mark.parametrize("speed", [100.0, 600.0])
def test_slices_grow_until_a_step_takes_its_time(writers: int, seconds: float, speed: float) -> None:
    pace = Pace(512)
    for _ in range(12):
        read = pace.slice(writers)
        pace.measured(writers, read, (read + writers) / speed)
    assert (pace.slice(writers) + writers) / speed == pytest.approx(seconds, rel=0.1)


def test_a_slice_leaves_room_for_every_answer_in_the_batch() -> None:
    pace = Pace(64)
    for _ in range(12):
        pace.measured(8, pace.slice(8), 1e-6)
    assert pace.slice(8) == 64 - 8


def test_the_last_tokens_of_a_prompt_do_not_shrink_the_next_ones_slices() -> None:
    pace = Pace(512)
    for _ in range(6):
        pace.measured(0, pace.slice(0), pace.slice(0) / 1000)
    before = pace.slice(0)
    pace.measured(0, 2, 1.0)
    assert pace.slice(0) == before > SMALLEST_SLICE


def test_what_is_due_first_is_read_first_and_the_rest_of_the_slice_goes_to_the_next() -> None:
    late, soon = Prompt(500, due=9.0), Prompt(30, due=2.0)
    assert share_out([late, soon], 100) == [(soon, 30), (late, 70)]
    assert share_out([late, soon], 20) == [(soon, 20)]


def test_a_long_prompt_is_not_overtaken_for_ever() -> None:
    pace = Pace(512)
    pace.measured(0, 100, 1.0)
    long = pace.due(4000, asked_at=0.0)
    assert pace.due(40, asked_at=1.0) < long < pace.due(40, asked_at=long)
