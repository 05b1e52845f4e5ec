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

from backtalk.engine.metrics import Metrics
from backtalk.models import Model
from backtalk.prompt import Message, Prompt

STOPPED, FULL, CANCELLED, LATE = "stop", "length", "cancelled", "time"
"""Why an answer ended: the model said so, max_tokens was reached, somebody stopped it, its time was up."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 is greedy and needs no seed.

    An answer ends before the first of the `stop` strings, wherever tokens begin and end.
    """

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 40
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    max_tokens: int = 256
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What the visitors of one engine share, and what one of them may take of it."""

    live: int = 8
    """answers in the making at once"""
    queue: int = 64
    """answers that may wait for their turn"""
    per_visitor: int = 2
    """answers in the making of one visitor; those without a name are not counted"""
    wait_seconds: float = 600.0
    """that an answer may wait for its turn"""
    answer_seconds: float = 300.0
    """that an answer may take from its turn on"""
    idle_bytes: int = 2**30
    """of RAM for the contexts of idle conversations"""


@dataclass(frozen=True)
class Place:
    """Where an answer stands in line: 1 is next; about how many seconds until its turn."""

    position: int
    seconds: float


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
    def place(self) -> Place | None:
        """Its place in line; None before it was seen and once its turn has come."""
        ...

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

    def stream(self, prompt: Prompt, sampling: Sampling, visitor: str = "") -> Stream:
        """Begins an answer, or puts it in line. Raises BusyError when the line is full.

        `visitor` is any name by which the engine can be fair: one visitor's questions do not hold up others'.
        """
        ...

    def metrics(self) -> Metrics: ...

    def close(self) -> None: ...


def load(model: Model, context: int = 8192, threads: int = 0, limits: Limits | None = None) -> Engine:
    """Loads a model; `threads` 0 takes the cores this process may use. Raises ModelError.

    An endpoint's model is not loaded but asked for there: raises NetworkError where nothing answers.
    """
    if model.endpoint:
        from backtalk.engine.endpoint import EndpointEngine

        return EndpointEngine(model, context=context)
    from backtalk.engine.llama import LlamaEngine

    return LlamaEngine(model, context=context, threads=threads, limits=limits or Limits())
