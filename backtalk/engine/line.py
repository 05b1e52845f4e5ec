"""Who waits for a place, who is next, and for how long they will wait.

    line = Line(limits)
    line.waiting += streams
    for stream in line.in_turn(now):       whoever is next first
        line.begin(stream, now)
    line.ended("ada", took, now)           an answer to ada, after so many seconds

Who has waited once should be able to talk: those in a conversation go before newcomers. Newcomers who let
others go first for COURTESY answers' time get every third place: so neither waits for a crowd of the others.
"""

from collections import OrderedDict

from backtalk.engine import Limits
from backtalk.engine.answer import LlamaStream

TALKING_SECONDS = 300.0  # after an answer, its visitor is in a conversation
COURTESY = 3  # answers' time that newcomers let those go first who are in a conversation
GO_FIRST = 2  # of these, before a place is a newcomer's who has let others go first for so long


class Line:
    """The streams in `waiting`, in no order."""

    def __init__(self, limits: Limits):
        self.waiting: list[LlamaStream] = []
        self._limits = limits
        self._seconds_an_answer = 0.0
        self._gone_first = 0
        """Since a newcomer had a place."""
        self._talked: OrderedDict[str, float] = OrderedDict()
        """When a visitor's last answer ended, the longest ago first."""

    def in_turn(self, now: float) -> list[LlamaStream]:
        """Those who wait, whoever is next first."""
        self.waiting.sort(key=lambda stream: stream.asked_at)
        talking = [stream for stream in self.waiting if not self._is_new(stream)]
        urgent, due, others = self._newcomers(now)
        order = list(urgent)
        gone_first = self._gone_first
        while talking and due:
            chosen = talking if gone_first < GO_FIRST else due
            order.append(chosen.pop(0))
            gone_first = gone_first + 1 if chosen is talking else 0
        return [*order, *talking, *due, *others]

    def begin(self, stream: LlamaStream, now: float) -> None:
        """It has a place."""
        if self._is_new(stream):
            self._gone_first = 0
        elif self._newcomers(now)[1]:
            self._gone_first += 1
        self.waiting.remove(stream)

    def ended(self, visitor: str, took: float, now: float) -> None:
        """An answer ended that had its place for `took` seconds."""
        before = self._seconds_an_answer or took
        self._seconds_an_answer = 0.8 * before + 0.2 * took
        if visitor:
            self._talked[visitor] = now
            self._talked.move_to_end(visitor)
        while self._talked and now - next(iter(self._talked.values())) > TALKING_SECONDS:
            self._talked.popitem(last=False)

    def wait(self, position: int) -> float:
        """Seconds until somebody at this place in line is answered, from how long answers took so far."""
        return self._seconds_an_answer * position / self._limits.live

    def _is_new(self, stream: LlamaStream) -> bool:
        return stream.visitor not in self._talked

    def _newcomers(self, now: float) -> tuple[list[LlamaStream], list[LlamaStream], list[LlamaStream]]:
        """Who would be sent away if they let others go first; who did so for long enough; the others."""
        last = self._limits.wait_seconds - self._seconds_an_answer - self.wait(len(self.waiting))
        long = min(COURTESY * self._seconds_an_answer, self._limits.wait_seconds / 2)
        found: tuple[list[LlamaStream], ...] = ([], [], [])
        for stream in self.waiting:
            if self._is_new(stream):
                waited = now - stream.asked_at
                found[0 if waited >= last else 1 if waited >= long else 2].append(stream)
        return found[0], found[1], found[2]
