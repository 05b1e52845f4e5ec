"""The desk beside the desk: models that are compared, loaded when they are asked for, gone when nobody does.

    side = SideDesk(desk, context=8192)
    shift = side.hold(contender)        the model that answers the chat is shared, another one is loaded
    shift.end()

A model is loaded only where it fits the memory beside the one that answers the chat, stays for a while and
is closed after that. What is held is never closed before its answer has ended.
"""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.compare.contenders import Contender
from app.desk.answering import Desk
from app.desk.shift import Shift
from backtalk.engine import Engine, Limits, load
from backtalk.engine.machine import usable_cores
from backtalk.errors import BacktalkError, BusyError, ModelError
from backtalk.memory import free_bytes, serving_bytes
from backtalk.models import Model

IDLE_SECONDS = 300.0  # that a model stays after its last answer
LOOK_SECONDS = 20.0  # between two looks for models that nobody asks any more
MOST_LOADED = 2  # beside the one that answers the chat
LIMITS = Limits(live=2, queue=16, idle_bytes=0)  # a comparison is one turn: nobody goes on with it
MB = 2**20

Open = Callable[[Model, int, int], Engine]


@dataclass
class Loaded:
    """A model at this desk, and when it was last asked."""

    shift: Shift
    used_at: float


class SideDesk:
    """Holds engines for comparisons."""

    def __init__(
        self,
        desk: Desk,
        context: int,
        open_engine: Open | None = None,
        free: Callable[[], int | None] = free_bytes,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._desk, self._context = desk, context
        self._open, self._free, self._clock = open_engine or _load, free, clock
        self._loaded: dict[str, Loaded] = {}
        self._lock = threading.Lock()  # loading holds it too: two at once would both find the memory free
        self._closing = threading.Event()
        self._sweeper: threading.Thread | None = None

    def hold(self, contender: Contender) -> Shift:
        """The contender's shift, held for one answer: whoever takes it calls its `end`.

        Raises ModelError where its model does not fit or load, BusyError while others are compared.
        """
        if contender.kind == "current" or self._answers(contender):
            return self._desk.hold()
        with self._lock:
            known = self._loaded.get(contender.key) or self._add(contender)
            known.used_at = self._clock()
            known.shift.begin()
            return known.shift

    @property
    def loaded(self) -> list[str]:
        """The keys of the models that are here now."""
        return list(self._loaded)

    def sweep(self) -> None:
        """Closes what nobody asked for in a while."""
        with self._lock:
            now = self._clock()
            for key, one in list(self._loaded.items()):
                if one.shift.owed:
                    one.used_at = now
                elif now - one.used_at >= IDLE_SECONDS:
                    self._drop(key)

    def close(self) -> None:
        """Frees every model; running answers were stopped before."""
        self._closing.set()
        with self._lock:
            leaving = [self._drop(key) for key in list(self._loaded)]
        for thread in leaving:
            thread.join(LOOK_SECONDS / 10)

    def _answers(self, contender: Contender) -> bool:
        """Whether the chat's own model is this one: a promotion may have come between list and question."""
        return bool(contender.sha256) and self._desk.engine.model.sha256 == contender.sha256

    def _add(self, contender: Contender) -> Loaded:
        if self._closing.is_set():
            raise ModelError("The server is ending. Your question is kept; ask it again in a moment.").called(
                "ending"
            )
        try:
            added = Loaded(Shift(self._opened(contender)), self._clock())
        except BacktalkError as fault:
            if not fault.name:  # only whoever runs the server can act on it
                print(f"{contender.name} cannot be compared: {fault}", file=sys.stderr, flush=True)
                fault.called("not_loaded", model=contender.name)
            raise
        self._loaded[contender.key] = added
        self._watch()
        return added

    def _opened(self, contender: Contender) -> Engine:
        model = contender.model()
        while len(self._loaded) >= MOST_LOADED:
            self._make_room()
        self._check_memory(model)
        return self._open(model, self._context, _threads())

    def _make_room(self) -> None:
        """Closes the model that was asked longest ago, and waits until its memory is free."""
        idle = [key for key, one in self._loaded.items() if not one.shift.owed]
        if not idle:
            raise BusyError(
                "Other models are being compared right now, and no further one fits. Try again in a moment."
            ).called("comparing")
        self._drop(min(idle, key=lambda key: self._loaded[key].used_at)).join()

    def _check_memory(self, model: Model) -> None:
        if model.endpoint:
            return
        needed = serving_bytes(model.path, self._context)
        while (free := self._free()) is not None and needed > free:
            if not any(not one.shift.owed for one in self._loaded.values()):
                raise ModelError(
                    f"{model.name} takes {needed / MB:,.0f} MB beside the model that answers, and "
                    f"{free / MB:,.0f} MB are free: it cannot be compared here now. Choose a smaller one."
                ).called("too_large", model=model.name, needed=round(needed / MB), free=round(free / MB))
            self._make_room()

    def _drop(self, key: str) -> threading.Thread:
        return self._loaded.pop(key).shift.relieve()

    def _watch(self) -> None:
        if self._sweeper is None or not self._sweeper.is_alive():
            self._sweeper = threading.Thread(target=self._sweep_on, name="unload idle models", daemon=True)
            self._sweeper.start()

    def _sweep_on(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            self.sweep()


def _load(model: Model, context: int, threads: int) -> Engine:
    return load(model, context, threads, LIMITS)


def _threads() -> int:
    """Half of the cores: the other answer is written at the same time."""
    return max(1, usable_cores() // 2)
