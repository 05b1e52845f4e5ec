"""An engine to measure a model with: it repeats itself to the letter, and says how likely a text is.

    engine = MeasuringEngine(resolve("mini"), context=8192, threads=0)
    for text, ending in engine.together(prompts, Sampling(temperature=0)): ...
    prompt = engine.whole([{"role": "user", "content": "where is my order 4821?"}])
    nats = engine.surprise(prompt, "It is on its way.")      summed over the text's tokens

Nothing else may be streaming meanwhile: all use the one context.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import llama_cpp

from backtalk.engine import Ending, Limits, Sampling
from backtalk.engine.answer import LlamaStream
from backtalk.engine.batch import Batch
from backtalk.engine.llama import LARGEST_BATCH, LlamaEngine
from backtalk.engine.pace import Unhurried
from backtalk.errors import ContextError, ModelError
from backtalk.models import Model
from backtalk.prompt import Message, Prompt

UNLIMITED = Limits(queue=sys.maxsize, wait_seconds=math.inf, answer_seconds=math.inf)
ROWS = 64  # places whose logits are held at once: 33 MB of them for the vocabulary of Llama 3


class MeasuringEngine(LlamaEngine):
    """See backtalk.engine.Engine, `together` and `surprise`."""

    def __init__(self, model: Model, context: int, threads: int):
        super().__init__(model, context, threads, UNLIMITED, Unhurried())

    def together(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[str, Ending]]:
        """The answers in the order of the prompts, a few of them in the making at once.

        llama.cpp rounds by what it computes together. Here that follows from the prompts and their order,
        and neither from the machine's speed nor from what was asked before.
        """
        self._sequences.clear()
        streams = [LlamaStream(prompt, sampling) for prompt in prompts]
        self._worker.ask(streams)
        try:
            for stream in streams:
                yield "".join(stream), stream.ending
        finally:
            _leave(streams)

    @property
    def opening(self) -> list[int]:
        """What a text without a prompt begins with: the model's own first token, where it has one."""
        first = self._vocabulary.controls.get(self._vocabulary.bos)
        return [] if first is None else [first]

    def whole(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a prompt with all its turns, however many they are."""
        return self._template.tokens(messages)

    def surprise(self, prompt: Sequence[int], text: str) -> float:
        """-ln p(text | prompt). Control tokens are no part of a text, and what ends an answer is not counted.

        Without a prompt the text's first token is not counted: nothing was there to expect it from. Raises
        ContextError where both together are longer than the context.
        """
        ids = [*prompt, *self._vocabulary.tokenize(text)]
        if len(ids) > self.context:
            raise ContextError(
                f"Prompt and text take {len(ids):,} tokens and the model reads {self.context:,} at once. "
                "Shorten the text."
            )
        first = max(len(prompt), 1)
        self._sequences.clear()
        batch = Batch(LARGEST_BATCH, sequences=1)
        for start in range(0, first - 1, LARGEST_BATCH):
            self._compute(batch, ids[start : min(start + LARGEST_BATCH, first - 1)], start)
        nats = 0.0
        for start in range(first - 1, len(ids) - 1, ROWS):
            end = min(start + ROWS, len(ids) - 1)
            nats += _surprise(self._logits(batch, ids[start:end], start), ids[start + 1 : end + 1])
        self._sequences.clear()
        return nats

    def _logits(self, batch: Batch, tokens: Sequence[int], position: int) -> Any:
        """The logits after each of `tokens`, the first at `position`: an array (tokens, vocabulary)."""
        import numpy as np  # not needed to serve

        self._compute(batch, tokens, position, all_logits=True)
        found = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(found, (len(tokens), len(self._vocabulary))).astype(np.float64)

    def _compute(self, batch: Batch, tokens: Sequence[int], position: int, all_logits: bool = False) -> None:
        batch.clear()
        if all_logits:
            for place, token in enumerate(tokens, start=position):
                batch.add_one(token, place, sequence=0)
        else:
            batch.add(tokens, position, sequence=0, wants_logits=False)
        if code := llama_cpp.llama_decode(self._context, batch.raw):
            raise ModelError(
                f"{self.model.name} could not compute a text's likelihood (llama.cpp answered {code}). "
                "Start with a smaller context."
            )


def _leave(streams: Sequence[LlamaStream]) -> None:
    """Cancels what is not answered yet, and returns when the context is nobody's."""
    for stream in streams:
        stream.cancel()
    for stream in streams:
        with suppress(ModelError):
            "".join(stream)


def _surprise(logits: Any, following: Sequence[int]) -> float:
    """The nats of the tokens that followed."""
    import numpy as np

    shifted = logits - logits.max(-1, keepdims=True)
    chosen = shifted[np.arange(len(following)), following]
    return float((np.log(np.exp(shifted).sum(-1)) - chosen).sum())
