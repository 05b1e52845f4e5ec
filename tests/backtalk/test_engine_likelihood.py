"""The engine that models are measured with.

Command: .venv/bin/python -m pytest tests/backtalk/test_engine_likelihood.py
Promise: what is computed together follows from the questions alone, so a measurement can be repeated.
"""

from collections.abc import Iterator
from contextlib import closing

import pytest

from backtalk.engine import Sampling
from backtalk.engine.likelihood import MeasuringEngine
from backtalk.models import resolve
from training.mini.evaluate import read_items, sample

GREEDY = Sampling(temperature=0, max_tokens=48)


@pytest.fixture(scope="module")
def engine() -> Iterator[MeasuringEngine]:
    with closing(MeasuringEngine(resolve("mini"), context=2048, threads=1)) as engine:
        yield engine


def questions(first: int, count: int) -> list[list[dict[str, str]]]:
    return [list(item.messages) for item in sample(read_items(), 8)[first : first + count]]


def answers(engine: MeasuringEngine, asked: list[list[dict[str, str]]]) -> tuple[list[str], int, int]:
    """The answers, and in how many steps how many tokens were read for them."""
    before = engine.metrics()
    prompts = [engine.prompt(messages, GREEDY.max_tokens) for messages in asked]
    texts, after = [text for text, _ in engine.together(prompts, GREEDY)], engine.metrics()
    return texts, after.steps - before.steps, after.read - before.read


def test_the_same_questions_are_computed_the_same_way_whatever_was_asked_before_and_however_slow_it_is(
    engine: MeasuringEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = questions(0, 24)
    first = answers(engine, asked)
    answers(engine, questions(30, 7))
    engine.surprise(engine.whole(asked[0]), "No.")
    assert answers(engine, asked) == first
    read, hurried = type(engine._worker)._read_together, iter(range(10**6))

    def uneven(worker: object, answer: object, count: int) -> bool:
        worker._pace.measured(64, 10.0 ** (next(hurried) % 3 - 2))  # type: ignore[attr-defined]
        return read(worker, answer, count)  # type: ignore[arg-type]

    monkeypatch.setattr(type(engine._worker), "_read_together", uneven)
    assert answers(engine, asked) == first


def test_questions_asked_together_are_answered_side_by_side_and_as_when_asked_alone(
    engine: MeasuringEngine,
) -> None:
    asked = questions(0, 24)
    together, steps, _ = answers(engine, asked)
    alone = [answers(engine, [messages]) for messages in asked]
    assert steps < sum(one[1] for one in alone) / 3
    differing = sum(one != [text] for (one, _, _), text in zip(alone, together, strict=True))
    assert differing <= 1  # two tokens that are equally likely to the last digits


def test_a_reader_who_leaves_a_group_leaves_the_engine_as_it_was(engine: MeasuringEngine) -> None:
    asked = questions(0, 24)
    whole = answers(engine, asked)
    with closing(engine.together([engine.prompt(messages, 48) for messages in asked], GREEDY)) as begun:  # type: ignore[type-var]
        assert next(begun)[0] == whole[0][0]
    assert engine.metrics().active == 0
    assert answers(engine, asked) == whole
