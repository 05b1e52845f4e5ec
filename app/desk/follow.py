"""Follows promoted.json while the chat runs: what it names is loaded beside the model that answers, tried,
and takes over between two answers.

    follower = Follower(desk, pointer, context=8192, threads=0).start()
    follower.stop()

Promise: a file that is missing, damaged or no model changes nothing; it is said once, in the terminal and in
serving.json, and tried again only when the pointer moves. What may pass by itself (no network, no room in
memory) is said once too and tried again with growing pauses. A rollback is a move like any other.
"""

import sys
import time
import traceback
from collections.abc import Callable, Hashable
from threading import Event, Thread

from app.desk.answering import GOODBYE_SECONDS, READY, Desk
from app.desk.serving import Serving
from backtalk.engine import Engine, Limits, Sampling
from backtalk.engine import load as load_engine
from backtalk.errors import BacktalkError, ModelError, NetworkError
from backtalk.memory import free_bytes, serving_bytes
from backtalk.models import POINTER, Model
from backtalk.promoted import Pointer, Said

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 900.0  # seconds between tries of what may pass by itself, doubling
WARM_UP = "Hello"
WARM_UP_TOKENS = 16

Open = Callable[[Model], Engine]


class NoRoom(ModelError):
    """The new model does not fit beside the one that answers; that may pass."""


class Follower:
    """Looks whether the pointer has moved, in a thread of its own."""

    def __init__(
        self, desk: Desk, pointer: Pointer, context: int, threads: int, open_engine: Open | None = None
    ):
        self._desk, self._pointer, self._context = desk, pointer, context
        self._open = open_engine or (lambda model: load_engine(model, context, threads))
        self._serving = Serving.at_home(pointer.place)
        self._settled: Said | None = None  # taken over, or refused for good
        self._wanted: Said | None = None  # not settled yet
        self._again_at, self._pause = 0.0, FIRST_PAUSE
        self._told: set[Hashable] = set()  # what was complained of and is not repeated
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="follow promoted.json", daemon=True)

    def start(self) -> "Follower":
        self._thread.start()
        return self

    def stop(self) -> None:
        """Looks no more; a model that is being loaded right now gets a moment."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(GOODBYE_SECONDS)

    def begin(self) -> None:
        """Waits for the first model and takes note of it; why there is none was said by the desk."""
        self._desk.wait()
        if self._desk.state == READY:
            self._serving.answers(self._desk.engine.model)
        else:
            self._serving.refuses(self._desk.reason, again=False)

    def look(self) -> None:
        """One look at the pointer; takes over what it names if that is another model."""
        try:
            said = self._pointer.look()
        except BacktalkError as fault:
            self._complain(POINTER, f"{fault} {self._what_stays()}", again=True)
            return
        if POINTER in self._told:
            self._told.discard(POINTER)
            self._again_at = 0.0  # what kept the pointer away may have kept its file away as well
        if said == self._settled:
            self._wanted = None
            self._serving.stands()
            return
        if said != self._wanted:
            self._wanted, self._again_at, self._pause = said, 0.0, FIRST_PAUSE
        if self._is_answering(said):
            self._settle(said)
        elif time.monotonic() >= self._again_at:
            self._try(said)

    def _try(self, said: Said) -> None:
        try:
            model = said.model()
            self._check_room(model)
            self._take_over(model)
        except (NetworkError, NoRoom) as fault:
            self._again_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            why = f"{fault} {self._what_stays()} It is tried again."
            self._complain((said, type(fault)), why, again=True)
        except Exception as fault:
            if not isinstance(fault, BacktalkError):  # a defect of ours must not end the chat either
                traceback.print_exc()
            if self._desk.state == READY or str(fault) != self._desk.reason:
                self._complain((said, type(fault)), f"{fault} {self._what_stays()}", again=False)
            else:
                self._serving.refuses(self._desk.reason, again=False)
            self._settled = said
        else:
            self._settled = said

    def _take_over(self, model: Model) -> None:
        engine = self._open(model)
        try:
            warm_up(engine)
        except BaseException:
            engine.close()
            raise
        owed = self._desk.swap(engine)
        self._serving.answers(model)
        ends = f" The one before ends {owed} answer{'s' * (owed != 1)} first." if owed else ""
        print(f"Now answering: {_called(model)}.{ends}", flush=True)

    def _check_room(self, model: Model) -> None:
        """The engine takes what one conversation needs at least, and what several need where it is free."""
        free = free_bytes()
        if free is None:
            return
        of_one, of_all = needs(model, self._context)
        if of_one > free:
            raise NoRoom(
                f"{_called(model)} takes at least {_mebibytes(of_one)} beside the model that answers, and "
                f"{_mebibytes(free)} are free. Free some memory, or start with a smaller --context."
            )
        if of_all > free:
            self._tell_once(
                ("crowded", model),
                f"{_called(model)} would take {_mebibytes(of_all)} for {Limits.live} conversations at once, "
                f"and {_mebibytes(free)} are free: fewer are answered side by side.",
            )

    def _is_answering(self, said: Said) -> bool:
        return self._desk.state == READY and said.names(self._desk.engine.model)

    def _settle(self, said: Said) -> None:
        """The pointer names what answers: at the start, or because it came back."""
        self._settled = said
        self._serving.is_as_wanted()

    def _complain(self, what: Hashable, sentence: str, again: bool) -> None:
        """Said once, however often it is found; the file always tells the last one."""
        self._serving.refuses(sentence, again)
        self._tell_once(what, sentence)

    def _tell_once(self, what: Hashable, sentence: str) -> None:
        if what not in self._told:
            self._told.add(what)
            print(sentence, file=sys.stderr, flush=True)

    def _what_stays(self) -> str:
        if self._desk.state == READY:
            return f"{_called(self._desk.engine.model)} goes on answering."
        return "There is no model to answer meanwhile."

    def _run(self) -> None:
        self.begin()
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(self._pointer.seconds)


def needs(model: Model, context: int) -> tuple[int, int]:
    """Bytes that an engine takes for one conversation, its least, and for as many as it answers at once."""
    return serving_bytes(model.path, context), serving_bytes(model.path, context, Limits.live)


def warm_up(engine: Engine) -> None:
    """One short answer, so that the first visitor does not wait. Raises ModelError where none comes."""
    prompt = engine.prompt([{"role": "user", "content": WARM_UP}], WARM_UP_TOKENS)
    answer = "".join(engine.stream(prompt, Sampling(temperature=0, max_tokens=WARM_UP_TOKENS)))
    if not answer.strip():
        raise ModelError(f"{_called(engine.model)} answers nothing to '{WARM_UP}'. Promote another model.")


def _called(model: Model) -> str:
    rounds = f"round {model.round}, " if model.round else ""
    return f"{model.name} ({rounds}sha256 {model.sha256[:8]})"


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
