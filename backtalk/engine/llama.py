"""The engine on llama.cpp: one model, one context, one worker thread that answers many visitors side by side.

    engine = LlamaEngine(resolve("mini"), context=8192, threads=0, limits=Limits(live=8))

How the visitors share it is in schedule.py; what is kept of their conversations, in sequences.py.

The same prompt, settings and seed give the same answer whatever the others do, as far as llama.cpp's
arithmetic goes: it adds up in another order when a step holds another number of tokens, so that two tokens
that are equally likely to the last digits can change places.
"""

from __future__ import annotations  # llama_cpp names its handles for type checkers only

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import llama_cpp

from backtalk.engine import Limits, Sampling
from backtalk.engine.answer import LlamaStream
from backtalk.engine.metrics import Metrics
from backtalk.engine.pace import Pace
from backtalk.engine.schedule import Worker
from backtalk.engine.sequences import Sequences
from backtalk.engine.vocabulary import Vocabulary, metadata
from backtalk.engine.weights import (
    LARGEST_BATCH,
    ONE_THREAD_BYTES,
    fitting_context,
    fitting_live,
    fitting_threads,
    keeps_a_running_state,
    load_weights,
    new_context,
)
from backtalk.engine.written import Written
from backtalk.errors import ModelError
from backtalk.memory import free_bytes
from backtalk.models import Model
from backtalk.prompt import Message, Prompt, Template, fit, room_for

__all__ = ["LARGEST_BATCH", "ONE_THREAD_BYTES", "LlamaEngine"]

IDLE_SHARE = 4  # idle conversations get at most 1/4 of the memory that is free once the model is loaded


class LlamaEngine:
    """See backtalk.engine.Engine."""

    name = f"llama-cpp-python-{llama_cpp.__version__}"

    def __init__(self, model: Model, context: int, threads: int, limits: Limits, pace: Pace | None = None):
        self._model = model
        self._context_tokens = fitting_context(model, context)
        limits = replace(limits, live=fitting_live(model, self._context_tokens, limits.live))
        self._handle = load_weights(model)
        self.threads = threads or fitting_threads(self._handle)
        self._context = new_context(self._handle, model, self._context_tokens, limits.live, self.threads)
        self._vocabulary = Vocabulary(self._handle)
        source = metadata(self._handle, "tokenizer.chat_template")
        if not source:
            raise ModelError(
                f"{model.path.name} has no chat template, and a chat needs one. Use an instruct model."
            )
        self.template_sha256 = hashlib.sha256(source.encode()).hexdigest()
        self._written = Written(self._vocabulary)
        self._template = Template(
            source,
            self._vocabulary.controls,
            self._vocabulary.tokenize,
            bos_token=self._vocabulary.bos,
            eos_token=self._vocabulary.eos,
            known=self._written.find,
        )
        free = free_bytes()
        idle_bytes = limits.idle_bytes if free is None else min(limits.idle_bytes, free // IDLE_SHARE)
        self._sequences = Sequences(
            self._context,
            limits.live,
            idle_bytes,
            can_branch=not keeps_a_running_state(self._handle),
        )
        self._worker = Worker(
            self._context, self._vocabulary, self._sequences, self._context_tokens, limits, pace or Pace()
        )

    @property
    def model(self) -> Model:
        return self._model

    @property
    def vocabulary(self) -> Vocabulary:
        return self._vocabulary

    @property
    def context(self) -> int:
        return self._context_tokens

    def prompt(self, messages: Sequence[Message], max_tokens: int) -> Prompt:
        return fit(self._template, messages, room_for(max_tokens, self._context_tokens))

    def stream(self, prompt: Prompt, sampling: Sampling, visitor: str = "") -> LlamaStream:
        stream = LlamaStream(prompt, sampling, visitor, self._written)
        self._worker.ask([stream])
        return stream

    def metrics(self) -> Metrics:
        return self._worker.metrics()

    def close(self) -> None:
        """Lets running answers end, then frees the model."""
        if self._worker.close():
            llama_cpp.llama_free(self._context)
            llama_cpp.llama_model_free(self._handle)
