"""The worker: one thread that owns the context and answers many visitors with it, step by step.

Each step writes one token of every answer in the making and reads a slice of the prompts that wait, so that
nobody's words stand still while somebody's history is read. Readers only ever wait on a queue of their own;
one that goes away stops nothing.
"""

from __future__ import annotations  # llama_cpp names its handles for type checkers only

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from threading import Lock, Thread

import llama_cpp

from backtalk.engine import CANCELLED, Limits, Place
from backtalk.engine.answer import Answer, LlamaStream
from backtalk.engine.batch import Batch
from backtalk.engine.line import Line
from backtalk.engine.metrics import Histogram, Metrics
from backtalk.engine.pace import LARGEST_CALL, Pace, cut, share_out
from backtalk.engine.sequences import Sequences
from backtalk.engine.vocabulary import Vocabulary
from backtalk.engine.weights import LARGEST_BATCH
from backtalk.errors import BusyError, ContextError, ModelError

ERROR = "error"  # how an answer ended that raised one


class Worker:
    """Answers streams in its own thread until `close`."""

    def __init__(
        self,
        context: llama_cpp.llama_context_p,
        vocabulary: Vocabulary,
        sequences: Sequences,
        longest: int,
        limits: Limits,
        pace: Pace,
    ):
        self._context, self._vocabulary, self._sequences = context, vocabulary, sequences
        self._longest, self._limits = longest, limits
        self._batch = Batch(max(LARGEST_BATCH, sequences.numbers), sequences.numbers)
        self._pace = pace
        self._arrivals: SimpleQueue[Sequence[LlamaStream]] = SimpleQueue()  # nobody: close
        self._line = Line(limits)
        self._readers: list[Answer] = []
        self._writers: list[Answer] = []
        self._closing = False
        self._metrics = Metrics()
        self._door = Lock()
        self._inside: set[LlamaStream] = set()  # in line or being answered
        self._thread = Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def ask(self, streams: Sequence[LlamaStream]) -> None:
        """Puts streams in line, all at one moment.

        Raises BusyError when the line is too full for them, ContextError for a prompt that never fits; then
        none of them is in line.
        """
        if (length := max(len(stream.prompt.tokens) for stream in streams)) > self._longest:
            raise ContextError(
                f"This prompt takes {length:,} tokens and the model reads {self._longest:,} at once. "
                "Shorten it."
            ).called("no_room", tokens=length, room=self._longest)
        with self._door:
            if self._closing:
                raise ModelError("This model is not served any more. Ask again.").called("ending")
            inside = [other for other in self._inside if not other.cancelled.is_set()]
            if len(inside) + len(streams) > self._limits.queue + self._limits.live:
                self._metrics.refused += len(streams)
                most, seconds = self._limits.queue, round(self._line.wait(1))
                raise BusyError(
                    f"{most} questions are waiting already, and no more may. Ask again in {seconds} seconds."
                ).called("busy", most=most, seconds=seconds)
            for stream in streams:
                self._line_up(stream, inside)
        self._arrivals.put(streams)

    def _line_up(self, stream: LlamaStream, inside: list[LlamaStream]) -> None:
        ahead = len(inside) - self._limits.live
        if ahead >= 0 or self._has_enough(stream.visitor, inside):
            stream.place = Place(max(ahead, 0) + 1, self._line.wait(max(ahead, 0) + 1))
        inside.append(stream)
        self._inside.add(stream)
        self._metrics.asked += 1

    def _has_enough(self, visitor: str, inside: Sequence[LlamaStream]) -> bool:
        """Whether this visitor is answered as often at once as one may be; a further question waits."""
        own = sum(other.visitor == visitor for other in inside)
        return bool(visitor) and own >= self._limits.per_visitor

    def metrics(self) -> Metrics:
        """A copy of the numbers as they are now."""
        mine, first = self._metrics, self._metrics.first_token
        copied = Histogram(first.bounds, list(first.counts), first.total)
        found = replace(mine, ended=dict(mine.ended), first_token=copied)
        with self._door:
            staying = [stream for stream in self._inside if not stream.cancelled.is_set()]
        found.queued = sum(not stream.begun.is_set() for stream in staying)
        found.active = len(staying) - found.queued
        counts = self._sequences.counts
        found.found, found.restored, found.dropped = counts.found, counts.restored, counts.dropped
        found.idle_bytes = self._sequences.shelf_bytes
        return found

    def close(self) -> bool:
        """Lets what was asked be answered, then ends the thread; False when it had ended before."""
        if not self._thread.is_alive():
            return False
        self._arrivals.put(())
        self._thread.join()
        return True

    # ---- in the worker's thread from here on

    def _work(self) -> None:
        while not self._closing or self._line.waiting or self._active:
            try:
                self._let_in()
                self._begin()
                self._interrupt()
                if self._active:
                    self._step()
            except Exception as fault:  # the readers' threads are the ones that can tell somebody
                self._fail_all(fault)

    @property
    def _active(self) -> list[Answer]:
        return self._writers + self._readers

    def _let_in(self) -> None:
        """Takes those who came; waits for somebody only when there is nothing else to do."""
        idle = not (self._closing or self._line.waiting or self._writers or self._readers)
        if not idle and self._arrivals.empty():
            return
        try:
            streams = self._arrivals.get(block=idle)
            while True:
                self._closing = self._closing or not streams
                self._line.waiting += streams
                streams = self._arrivals.get_nowait()
        except Empty:
            pass

    def _begin(self) -> None:
        """Begins as many waiting answers as there is room for."""
        if not self._line.waiting:
            return
        self._send_away()
        answering = Counter(answer.stream.visitor for answer in self._active)
        now = time.perf_counter()
        in_turn = self._line.in_turn(now)
        for stream in sorted(in_turn, key=lambda stream: answering[stream.visitor]):
            if len(self._writers) + len(self._readers) >= self._limits.live:
                break
            if stream.visitor and answering[stream.visitor] >= self._limits.per_visitor:
                continue
            self._line.begin(stream, now)
            in_turn.remove(stream)
            stream.begun.set()
            if stream.cancelled.is_set():  # in the meantime
                self._leave(stream, CANCELLED)
                stream.end(stream.unwritten())
                continue
            answering[stream.visitor] += 1
            try:
                self._open(stream)
            except Exception as fault:
                self._leave(stream, ERROR)
                stream.end(fault)
        for number, stream in enumerate(in_turn, start=1):
            stream.place = Place(number, self._line.wait(number))

    def _open(self, stream: LlamaStream) -> None:
        prompt = stream.prompt.tokens
        room = min(stream.sampling.max_tokens, self._longest - len(prompt))
        place = self._sequences.open(prompt)
        stream.place = None
        now = time.perf_counter()
        due = self._pace.due(len(prompt) - len(place.tokens), stream.asked_at)
        until = now + self._limits.answer_seconds
        self._readers.append(Answer(stream, place, self._vocabulary, room, due, until))

    def _send_away(self) -> None:
        """Those in line who do not want an answer any more, and those who waited too long."""
        now = time.perf_counter()
        for stream in list(self._line.waiting):
            waited = now - stream.asked_at
            if stream.cancelled.is_set():  # its reader was told when it was cancelled
                self._line.waiting.remove(stream)
                self._leave(stream, CANCELLED)
            elif waited > self._limits.wait_seconds:
                self._line.waiting.remove(stream)
                self._metrics.refused += 1
                self._leave(stream, ERROR)
                said = f"Nobody was free for {waited:.0f} seconds. Ask again later."
                stream.end(BusyError(said).called("waited", seconds=round(waited)))

    def _interrupt(self) -> None:
        """Ends what was cancelled, and what takes longer than anybody may."""
        now = time.perf_counter()
        for answers in (self._writers, self._readers):
            for answer in list(answers):
                if reason := answer.interrupted(now):
                    answers.remove(answer)
                    self._end(answer, reason)

    def _step(self) -> None:
        """A slice of what is to be read, then a token of every answer.

        Each prompt is read in a call of its own: llama.cpp takes as many tokens of each sequence together.
        """
        self._metrics.steps += 1  # before answers end: their readers may look at the numbers
        slice = self._pace.slice(amid_words=bool(self._writers), alone=len(self._active) == 1)
        for reader, share in share_out(self._readers, slice):
            self._read(reader, share)
        if self._writers:
            self._write()

    def _write(self) -> None:
        self._sequences.close_up([answer.place for answer in self._writers])
        self._writers.sort(key=lambda answer: answer.place.number)
        self._batch.clear()
        for answer in self._writers:
            place = answer.place
            answer.row = self._batch.add_one(answer.token, len(place.tokens), place.number)
        if not self._computed(self._writers):
            return
        now = time.perf_counter()
        over = []
        for answer in self._writers:
            answer.place.tokens.append(answer.token)
            if reason := answer.draw(self._context, now):
                over.append((answer, reason))
        self._metrics.written += len(self._writers) - len(over)
        for answer, reason in over:
            self._writers.remove(answer)
            self._end(answer, reason)

    def _read(self, answer: Answer, share: int) -> None:
        """Reads so many tokens of a prompt, and at its end draws the answer's first token."""
        while share > 0:
            count = cut(share, LARGEST_CALL)
            if not self._read_together(answer, count):
                return
            share -= count
        if not answer.unread:
            self._begin_writing(answer)

    def _read_together(self, answer: Answer, count: int) -> bool:
        """So many tokens of a prompt in one call; False where it failed."""
        place = answer.place
        at = len(place.tokens)
        part = answer.tokens[at : at + count]
        self._batch.clear()
        answer.row = self._batch.add(part, at, place.number, wants_logits=count == answer.unread)
        began = time.perf_counter()
        if not self._computed([answer]):
            return False
        place.tokens.extend(part)
        self._metrics.read += count
        self._pace.measured(count, time.perf_counter() - began)
        return True

    def _begin_writing(self, answer: Answer) -> None:
        self._readers.remove(answer)
        reason = answer.draw(self._context, time.perf_counter())
        self._metrics.first_token.add(answer.first_token_seconds)
        if reason:
            self._end(answer, reason)
        else:
            self._metrics.written += 1
            self._writers.append(answer)

    def _computed(self, answers: list[Answer]) -> bool:
        """One call of llama.cpp with what the batch holds; False where it failed, and `answers` with it."""
        began = time.perf_counter()
        code = llama_cpp.llama_decode(self._context, self._batch.raw)
        self._metrics.busy_seconds += time.perf_counter() - began
        if code != 0:
            self._fail(list(answers), code)
        return code == 0

    # ---- endings

    def _end(self, answer: Answer, reason: str) -> None:
        self._sequences.close(answer.place)
        now = time.perf_counter()
        self._line.ended(answer.stream.visitor, now - answer.began_at, now)
        self._leave(answer.stream, reason)
        answer.end(reason)  # last: its reader may look at the numbers

    def _fail(self, answers: list[Answer], code: int) -> None:
        for answer in answers:
            (self._writers if answer in self._writers else self._readers).remove(answer)
            self._sequences.forget(answer.place)
            self._leave(answer.stream, ERROR)
            answer.fail(
                ModelError(
                    f"The next token could not be computed (llama.cpp answered {code}). "
                    "Ask again; if it stays, start with a smaller context."
                ).called("not_computed", code=code)
            )

    def _fail_all(self, fault: Exception) -> None:
        """Everybody hears of it, who waits too: a fault that met nobody would be met again for ever."""
        for answer in self._active:
            self._sequences.forget(answer.place)
            self._leave(answer.stream, ERROR)
            answer.fail(fault)
        for stream in self._line.waiting:
            self._leave(stream, ERROR)
            stream.end(fault)
        self._writers.clear()
        self._readers.clear()
        self._line.waiting.clear()

    def _leave(self, stream: LlamaStream, reason: str) -> None:
        self._metrics.ended[reason] = self._metrics.ended.get(reason, 0) + 1
        with self._door:
            self._inside.discard(stream)
