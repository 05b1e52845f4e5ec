"""The engine that answers: load, stream, cancel, close. What is behind it may change, this file may not.

    engine = load(resolve("mini"))
    prompt = engine.prompt([{"role": "user", "content": "where is my order 4821?"}], max_tokens=256)
    stream = engine.stream(prompt, Sampling(temperature=0))
    for text in stream:
        print(text, end="", flush=True)
    print(stream.ending)
    engine.close()

A stream may be read in one thread and cancelled from another; `cancel` takes effect within one step of the
model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from backtalk.models import Model
from backtalk.prompt import Message, Prompt

STOPPED, FULL, CANCELLED = "stop", "length", "cancelled"
"""Why an answer ended: the model said so, max_tokens was reached, somebody stopped it."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 is greedy and needs no seed."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 40
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    max_tokens: int = 256
    seed: int = 0


@dataclass(frozen=True)
class Ending:
    """How an answer ended and what it took. Times in milliseconds, speed in tokens per second."""

    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_ms: float
    tokens_per_second: float


class Stream(Protocol):
    """An answer as it arrives: pieces of text, then `ending`. Errors are raised where it is read."""

    def __iter__(self) -> Iterator[str]: ...

    def cancel(self) -> None: ...

    @property
    def ending(self) -> Ending:
        """How it ended; asked for before the end, a RuntimeError."""
        ...


class Engine(Protocol):
    """One loaded model."""

    @property
    def model(self) -> Model: ...

    @property
    def context(self) -> int:
        """Tokens that fit at once, prompt and answer together."""
        ...

    @property
    def name(self) -> str:
        """What computes, with its version."""
        ...

    @property
    def threads(self) -> int: ...

    @property
    def template_sha256(self) -> str: ...

    def prompt(self, messages: Sequence[Message], max_tokens: int) -> Prompt:
        """Fits the messages, leaving room for an answer; oldest turns go first. Raises ContextError."""
        ...

    def stream(self, prompt: Prompt, sampling: Sampling) -> Stream: ...

    def close(self) -> None: ...


def load(model: Model, context: int = 8192, threads: int = 0) -> Engine:
    """Loads a model; `threads` 0 takes the cores this process may use. Raises ModelError."""
    from backtalk.engine.llama import LlamaEngine

    return LlamaEngine(model, context=context, threads=threads)
