"""What the engine takes of a machine's memory, and what it keeps of conversations.

Command: .venv/bin/python -m pytest tests/backtalk/test_engine_memory.py
Promise: too little memory is one sentence before anything is loaded; what is kept can be used again.
"""

from contextlib import closing

import pytest

from backtalk.engine import Limits, Sampling, load, weights
from backtalk.engine.llama import LlamaEngine
from backtalk.engine.sequences import common
from backtalk.engine.weights import fitting_context, fitting_live
from backtalk.errors import ContextError, ModelError
from backtalk.memory import serving_bytes
from backtalk.models import resolve
from backtalk.prompt import Prompt

MINI = resolve("mini")


def test_too_little_memory_is_one_sentence_before_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "free_bytes", lambda: 1_000_000)
    monkeypatch.setattr(weights, "load_weights", lambda _: pytest.fail("it was loaded"))
    with pytest.raises(ModelError, match=r"needs \d+ MB of memory .* and 1 MB are free"):
        load(MINI)


def test_with_less_memory_fewer_are_answered_at_once_and_each_keeps_its_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plenty = fitting_live(MINI, 512, live=8)
    monkeypatch.setattr(weights, "free_bytes", lambda: serving_bytes(MINI.path, 512, live=3))
    assert (fitting_live(MINI, 512, live=8), plenty) == (3, 8)
    with closing(load(MINI, context=512)) as engine:
        questions = [engine.prompt([{"role": "user", "content": f"hello {n}"}], 4) for n in range(5)]
        streams = [engine.stream(prompt, Sampling(max_tokens=4)) for prompt in questions]
        assert all("".join(stream) for stream in streams)


def test_a_context_is_never_longer_than_the_model_was_trained_on() -> None:
    assert fitting_context(MINI, 100_000) == 2048
    assert fitting_context(MINI, 300) == 300


def test_a_prompt_that_never_fits_is_refused_at_once() -> None:
    with closing(load(MINI, context=512)) as engine, pytest.raises(ContextError, match="600 tokens"):
        engine.stream(Prompt([300] * 600, []), Sampling())


def test_nothing_is_asked_of_a_closed_engine() -> None:
    engine = load(MINI, context=512)
    engine.close()
    with pytest.raises(ModelError, match="not served any more"):
        engine.stream(Prompt([300], []), Sampling())


def test_a_running_state_goes_on_from_its_end_and_from_nowhere_else() -> None:
    with closing(load(MINI, context=512, limits=Limits(live=1))) as engine:
        assert isinstance(engine, LlamaEngine)
        engine._sequences.can_branch = False
        question = "where is my order 4821? and the other one, 4822, which i sent back in may?"
        whole = engine.prompt([{"role": "user", "content": question}], 16).tokens
        cached = []
        for tokens in (whole, whole[:-4], whole, [*whole, *whole]):
            stream = engine.stream(Prompt(tokens, []), Sampling(temperature=0, max_tokens=1))
            list(stream)
            cached.append(stream.ending.cached_tokens)
    assert cached == [0, 0, len(whole) - 4, len(whole)]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [([], [], 0), ([1], [], 0), ([1, 2, 3], [1, 2, 3], 3), ([1, 2], [1, 2, 3], 2), ([9, 2, 3], [1, 2, 3], 0)],
)
def test_what_two_texts_begin_with_alike_is_counted(one: list[int], other: list[int], alike: int) -> None:
    assert common(one, other) == common(other, one) == alike


def test_a_difference_is_found_wherever_it_is() -> None:
    text = list(range(97))
    for place in text:
        assert common(text, [*text[:place], -1, *text[place + 1 :]]) == place
