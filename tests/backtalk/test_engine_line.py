"""Who is next of those who wait for a place.

Command: .venv/bin/python -m pytest tests/backtalk/test_engine_line.py
Promise: who is in a conversation goes first, newcomers in good time and never too late.
"""

import pytest

from backtalk.engine import Limits, Sampling
from backtalk.engine.answer import LlamaStream
from backtalk.engine.line import COURTESY, TALKING_SECONDS, Line
from backtalk.prompt import Prompt

AN_ANSWER = 50.0
NOW = 1000.0


def waits(visitor: str, since: float) -> LlamaStream:
    stream = LlamaStream(Prompt([], []), Sampling(), visitor)
    stream.asked_at = NOW - since
    return stream


@pytest.fixture
def line() -> Line:
    """Eight places; ada, bob, cyd and dan were answered just now, in 50 seconds each."""
    line = Line(Limits(live=8, wait_seconds=600.0))
    for visitor in ("ada", "bob", "cyd", "dan"):
        line.ended(visitor, AN_ANSWER, NOW)
    return line


def names(line: Line, now: float = NOW) -> list[str]:
    return [stream.visitor for stream in line.in_turn(now)]


def test_who_is_in_a_conversation_goes_before_newcomers(line: Line) -> None:
    line.waiting += [waits("new", 90), waits("newer", 80), waits("bob", 2), waits("ada", 5)]
    assert names(line) == ["ada", "bob", "new", "newer"]


def test_after_a_while_every_third_place_is_a_newcomer_s(line: Line) -> None:
    long = COURTESY * AN_ANSWER + 1
    line.waiting += [waits("new", long), waits("newer", long - 0.5), waits("newest", 3)]
    line.waiting += [
        waits(visitor, 9 - number) for number, visitor in enumerate(("ada", "bob", "cyd", "dan"))
    ]
    assert names(line) == ["ada", "bob", "new", "cyd", "dan", "newer", "newest"]


def test_places_that_are_given_one_by_one_are_given_in_the_same_order(line: Line) -> None:
    long = COURTESY * AN_ANSWER + 1
    line.waiting += [waits("new", long), waits("newer", long)]
    line.waiting += [waits(visitor, 9) for visitor in ("ada", "bob", "cyd", "dan")]
    whole, given = names(line), []
    while line.waiting:
        given.append(line.in_turn(NOW)[0])
        line.begin(given[-1], NOW)
    assert [stream.visitor for stream in given] == whole


def test_newcomers_who_would_be_sent_away_before_long_go_first(line: Line) -> None:
    line.waiting += [waits("ada", 20), waits("new", 600 - 2 * AN_ANSWER), waits("newer", 10)]
    assert names(line) == ["ada", "new", "newer"]
    assert names(line, NOW + AN_ANSWER) == ["new", "ada", "newer"]


def test_who_said_nothing_for_a_while_is_a_newcomer_again(line: Line) -> None:
    line.waiting += [waits("new", 5), waits("ada", 4)]
    assert names(line) == ["ada", "new"]
    line.ended("eve", AN_ANSWER, NOW + TALKING_SECONDS + 1)
    assert names(line) == ["new", "ada"]


def test_the_wait_follows_from_how_long_answers_take(line: Line) -> None:
    assert line.wait(8) == AN_ANSWER
    line.ended("ada", 2 * AN_ANSWER, NOW)
    assert AN_ANSWER < line.wait(8) < 2 * AN_ANSWER
