"""One answer: the stream that a reader holds, and the worker's side of it."""

from __future__ import annotations  # llama_cpp names its handles for type checkers only

import time
from threading import Event

import llama_cpp

from backtalk.engine import CANCELLED, FULL, LATE, STOPPED, Ending, Place, Sampling
from backtalk.engine.reading import Reading
from backtalk.engine.sampler import new_sampler
from backtalk.engine.sequences import Place as SequencePlace
from backtalk.engine.spelling import Spelling
from backtalk.engine.vocabulary import Vocabulary
from backtalk.engine.written import Written
from backtalk.prompt import Prompt

GATHER_SECONDS = 0.015
"""Pieces that follow each other faster are handed over together: 60 a second are enough."""


class LlamaStream(Reading):
    """See backtalk.engine.Stream."""

    def __init__(self, prompt: Prompt, sampling: Sampling, visitor: str = "", written: Written | None = None):
        self.prompt, self.sampling, self.visitor, self.written = prompt, sampling, visitor, written
        self.begun, self.cancelled = Event(), Event()
        self.asked_at = time.perf_counter()
        self.place: Place | None = None
        super().__init__()

    def cancel(self) -> None:
        self.cancelled.set()
        if not self.begun.is_set():  # still in line: nobody has to wait for the answers before
            self.end(self.unwritten())

    def unwritten(self) -> Ending:
        """The ending of an answer that never began."""
        return Ending(CANCELLED, len(self.prompt.tokens), 0, 0, 0.0, 0.0)

    def end(self, how: Ending | Exception) -> None:
        self.place = None
        super().end(how)


class Answer:
    """An answer in the making: first its prompt is read, then it is written token by token."""

    def __init__(
        self,
        stream: LlamaStream,
        place: SequencePlace,
        vocabulary: Vocabulary,
        room: int,
        due: float,
        until: float,
    ):
        self.stream, self.place, self.due = stream, place, due
        self.began_at = time.perf_counter()
        self.tokens = stream.prompt.tokens
        self.cached = len(place.tokens)
        self.token = -1
        """The last one written; its state is not in the context yet."""
        self.row = -1
        """Of the step's batch: where the logits of the next token are found."""
        self.sampler = new_sampler(stream.sampling, len(vocabulary))
        self._vocabulary, self._room, self._until = vocabulary, room, until
        self._spelling = Spelling(stream.sampling.stop)
        self._gathered = ""
        self._written: list[int] = []
        self._first_at = self._last_at = self._handed_at = 0.0

    @property
    def unread(self) -> int:
        """Tokens of the prompt that are still to be read."""
        return len(self.tokens) - len(self.place.tokens)

    @property
    def first_token_seconds(self) -> float:
        return self._first_at - self.stream.asked_at if self._first_at else 0.0

    def interrupted(self, now: float) -> str:
        """Why it has to end before its next step, else an empty string."""
        if self.stream.cancelled.is_set():
            return CANCELLED
        return LATE if now > self._until else ""

    def draw(self, context: llama_cpp.llama_context_p, now: float) -> str:
        """Takes the next token from the step's logits; why the answer is over, else an empty string."""
        if not self._first_at:
            self._first_at = self._handed_at = now
        if self._room <= 0:  # nothing may be written at all
            return FULL
        token = llama_cpp.llama_sampler_sample(self.sampler, context, self.row)
        if self._vocabulary.is_end(token):
            return STOPPED
        self.token = token
        self._written.append(token)
        self._last_at = now
        self._gathered += self._spelling.add(self._vocabulary.piece(token))
        if self._gathered and (now - self._handed_at >= GATHER_SECONDS or len(self._written) == 1):
            self.stream.hand_over(self._gathered)
            self._gathered, self._handed_at = "", now
        if self._spelling.stopped:
            return STOPPED
        return FULL if len(self._written) >= self._room else ""

    def end(self, reason: str) -> Ending:
        """Hands over what is left, and how it ended."""
        self.free()
        self._gathered += self._spelling.rest()
        if self._gathered:
            self.stream.hand_over(self._gathered)
        seconds = self._last_at - self._first_at
        written = len(self._written)
        speed = (written - 1) / seconds if written > 1 and seconds > 0 else 0.0
        first_token_ms = round(self.first_token_seconds * 1000, 1)
        ending = Ending(reason, len(self.tokens), self.cached, written, first_token_ms, round(speed, 1))
        if self.stream.written and not self._spelling.stopped:
            self.stream.written.remember(self.tokens, self._written)
        self.stream.end(ending)
        return ending

    def fail(self, fault: Exception) -> None:
        self.free()
        self.stream.end(fault)

    def free(self) -> None:
        if self.sampler:
            llama_cpp.llama_sampler_free(self.sampler)
            self.sampler = None
