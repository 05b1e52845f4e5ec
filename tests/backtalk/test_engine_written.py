"""The tokens in which answers were written.

Command: .venv/bin/python -m pytest tests/backtalk/test_engine_written.py
Promise: a prompt holds an answer as it was written, in its own conversation only, and no control token by it.
"""

import pytest

from backtalk.engine import Engine
from backtalk.engine.llama import LlamaEngine
from backtalk.engine.vocabulary import Vocabulary
from backtalk.engine.written import MOST, Written

QUESTION = [{"role": "user", "content": "where is my order?"}]


@pytest.fixture
def vocabulary(engine: Engine) -> Vocabulary:
    assert isinstance(engine, LlamaEngine)
    return engine.vocabulary


@pytest.fixture
def prompt(engine: Engine) -> list[int]:
    return engine.prompt(QUESTION, 16).tokens


def letters(vocabulary: Vocabulary, text: str) -> list[int]:
    """A token for each letter, as the tokenizer would not write it."""
    return [token for letter in text for token in vocabulary.tokenize(letter)]


def border(prompt: list[int], vocabulary: Vocabulary) -> int:
    """Where what follows the last control token begins."""
    controls = vocabulary.controls.values()
    return next(at for at in range(len(prompt), 0, -1) if prompt[at - 1] in controls)


def test_a_text_is_found_as_it_was_written_and_with_the_space_that_a_template_trims(
    vocabulary: Vocabulary, prompt: list[int]
) -> None:
    written, start = Written(vocabulary), border(prompt, vocabulary)
    opening = b"".join(map(vocabulary.piece, prompt[start:])).decode()
    odd = letters(vocabulary, " it is there ")
    written.remember(prompt, odd)
    assert list(written.find(prompt[:start], f"{opening}it is there")) == [*prompt[start:], *odd]


def test_what_the_tokenizer_would_write_is_not_kept(vocabulary: Vocabulary, prompt: list[int]) -> None:
    written = Written(vocabulary)
    written.remember(prompt, vocabulary.tokenize("it is there"))
    assert not written._pieces


def test_another_conversation_with_the_same_answer_is_tokenized(
    vocabulary: Vocabulary, prompt: list[int]
) -> None:
    written, start = Written(vocabulary), border(prompt, vocabulary)
    written.remember(prompt, letters(vocabulary, "it is there"))
    (text,) = written._pieces
    assert written.find(prompt[:start], text)
    assert not written.find([*prompt[: start - 1], 5], text)


def test_an_answer_with_a_control_token_is_not_kept(vocabulary: Vocabulary, prompt: list[int]) -> None:
    written, control = Written(vocabulary), min(vocabulary.controls.values())
    written.remember(prompt, [*letters(vocabulary, "it is"), control, *letters(vocabulary, "there")])
    assert not written._pieces


def test_only_the_latest_answers_are_kept(vocabulary: Vocabulary, prompt: list[int]) -> None:
    written = Written(vocabulary)
    for number in range(MOST + 3):
        written.remember(prompt, letters(vocabulary, f"parcel {number}"))
    assert len(written._pieces) == MOST
    assert not any(text.endswith("parcel 2") for text in written._pieces)
