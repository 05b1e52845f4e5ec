"""Who takes the chunks: this process, or where batches are small several beside it, one for each core.

    with crew(engine) as hands:
        hands.begin(entrant)           its next chunk, if hands.takes(entrant)
        hands.wait()                   until one has ended its chunk: what it brought is with the engine then

Small batches to a small base are computed with one thread (training/machine.py); the other cores would idle.
Those beside it are forked from it: libraries, bases and rows are in memory once. Each keeps the trainers of
its configurations between their chunks, and computes with them what they would compute anywhere.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection
from typing import TYPE_CHECKING

from backtalk.engine.machine import usable_cores
from backtalk.malloc import give_back_what_is_free
from training.experiment.engines.task import News
from training.experiment.entrant import Entrant
from training.experiment.points import Point
from training.experiment.prepare import Prepared
from training.experiment.recipe import Search
from training.machine import device, free_memory, is_small

if TYPE_CHECKING:
    from training.experiment.engine import Engine

PROCESS_BYTES = 2**29  # that one more process may need
LIVES = 3  # times that a configuration's process may end in the midst of its chunk before it counts as failed
LOOK = 0.2  # seconds between two looks whether somebody asked to stop


@contextmanager
def crew(engine: "Engine") -> Iterator["Here | Beside"]:
    """Those that advance the engine's configurations while the block runs."""
    count = at_once([one.prepared for one in engine.entrants], engine.asked.search)
    hands = Beside(engine, count) if count > 1 else Here(engine)
    try:
        yield hands
    finally:
        hands.close()


def at_once(prepared: Sequence[Prepared], search: Search) -> int:
    """Configurations that are advanced at the same time.

    Where early stopping decides by who came first, one: else what it decides would depend on the clock.
    """
    forks = sys.platform == "linux" and device() == "cpu"
    if not forks or not all_small(prepared) or search.early_stop != "off":
        return 1
    return max(1, min(usable_cores(), len(prepared), free_memory("cpu") // PROCESS_BYTES))


def all_small(prepared: Sequence[Prepared]) -> bool:
    """Whether one thread is best for every method of every configuration."""
    return all(
        is_small(one.ready.base.values, stage.tokens_at_once)
        for one in prepared
        for stage in one.ready.stages
        if stage.steps
    )


class Here:
    """This process, one configuration after the other."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._begun: Entrant | None = None

    @property
    def busy(self) -> frozenset[str]:
        """Names of the configurations under way."""
        return frozenset({self._begun.name} if self._begun else ())

    def takes(self, entrant: Entrant) -> bool:
        """Whether its next chunk could begin now."""
        return self._begun is None

    def begin(self, entrant: Entrant) -> None:
        self._begun = entrant

    def wait(self) -> None:
        """Takes the chunk that was begun."""
        entrant, self._begun = self._begun, None
        if entrant:
            entrant.advance()

    def leave(self) -> None:
        """Ends all trainings where they paused; they can be gone on with later."""
        for entrant in self._engine.entrants:
            entrant.leave()

    def close(self) -> None:
        pass


class Beside:
    """Processes beside this one, each with configurations of its own."""

    def __init__(self, engine: "Engine", count: int) -> None:
        self._engine, self._count = engine, count
        self._helpers: list[Helper] = []
        self._deaths: Counter[str] = Counter()

    @property
    def busy(self) -> frozenset[str]:
        """Names of the configurations under way."""
        return frozenset(helper.busy for helper in self._helpers if helper.busy)

    def takes(self, entrant: Entrant) -> bool:
        """Whether its next chunk could begin now."""
        owner = self._owner(entrant)
        return len(self.busy) < self._count and not (owner and owner.busy)

    def begin(self, entrant: Entrant) -> None:
        if self._owner(entrant) is None:
            self._fork()
        owner = self._owner(entrant)
        assert owner
        entrant.standing = "running"
        owner.begin(entrant.name)

    def wait(self) -> None:
        """Until one has ended its chunk, or its process has ended."""
        under_way = [helper for helper in self._helpers if helper.busy]
        while not (ready := connection.wait([helper.pipe for helper in under_way], LOOK)):
            if self._engine.stop.asked:
                self._ask_to_stop()
        for helper in under_way:
            if helper.pipe in ready:
                self._hear(helper)

    def leave(self) -> None:
        """Ends all trainings after the step that they take now; they can be gone on with later."""
        self._ask_to_stop()
        while self.busy:
            self.wait()
        for entrant in self._engine.entrants:
            if entrant.standing == "running":
                entrant.standing = "waiting"

    def close(self) -> None:
        """Ends the processes: whoever is paused has a whole checkpoint."""
        for helper in self._helpers:
            helper.end()
        self._helpers.clear()

    def _fork(self) -> None:
        """Processes for those that none has: new ones, or ones whose process ended."""
        mine = [one for one in self._engine.entrants if one.live and self._owner(one) is None]
        for prepared in self._engine.readings():
            self._engine.judge.get_ready(prepared)
        for number in range(min(self._count, len(mine))):
            self._helpers.append(Helper(self._engine, [one.name for one in mine[number :: self._count]]))

    def _owner(self, entrant: Entrant) -> "Helper | None":
        return next((helper for helper in self._helpers if entrant.name in helper.names), None)

    def _ask_to_stop(self) -> None:
        for helper in self._helpers:
            helper.ask_to_stop()

    def _hear(self, helper: "Helper") -> None:
        entrant = next(one for one in self._engine.entrants if one.name == helper.busy)
        try:
            self._engine.hear(helper.news())
        except (EOFError, OSError):
            self._lost(helper, entrant)
        own = [one for one in self._engine.entrants if one.name in helper.names]
        if not any(one.live or one.stopped and not one.finished for one in own):
            helper.end()
            self._helpers.remove(helper)

    def _lost(self, helper: "Helper", entrant: Entrant) -> None:
        """A process that ended by itself: its configurations go on in another one."""
        helper.end()
        self._deaths[entrant.name] += 1
        ended = f"its process ended (exit code {helper.exit_code})"
        entrant.standing = "waiting"
        if self._deaths[entrant.name] < LIVES:
            self._engine.progress.done(f"{entrant.name}: {ended}; it goes on from its last checkpoint")
        else:
            entrant.standing, entrant.why = "failed", f"{ended}, {LIVES} times in the midst of a chunk"
            self._engine.progress.done(f"{entrant.name} failed: {entrant.why}")
        helper.names = ()


class Helper:
    """A process with configurations of its own; `busy`: the one that takes a chunk now."""

    def __init__(self, engine: "Engine", names: Sequence[str]) -> None:
        self.names: Sequence[str] = names
        self.busy = ""
        context = multiprocessing.get_context("fork")
        self.pipe, its_pipe = context.Pipe()
        stopped, self._stop = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(engine, its_pipe, stopped), daemon=True)
        self._process.start()
        its_pipe.close()  # else its end would not be noticed
        stopped.close()

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def begin(self, name: str) -> None:
        self.busy = name
        with suppress(OSError):  # it has ended: whoever waits for its news finds that out
            self.pipe.send(name)

    def news(self) -> News:
        """What a chunk brought. Raises what the process raised, EOFError or OSError where it has ended."""
        self.busy = ""
        found = self.pipe.recv()
        if isinstance(found, BaseException):
            raise found
        assert isinstance(found, News)
        return found

    def ask_to_stop(self) -> None:
        if not self._stop.closed:
            with suppress(OSError):
                self._stop.send(None)
            self._stop.close()

    def end(self) -> None:
        self._process.kill()
        self._process.join()


# ---- in the process beside


def _work(engine: "Engine", pipe: connection.Connection, stopped: connection.Connection) -> None:
    """Advances who is named, until this process is ended."""
    for sign in (signal.SIGINT, signal.SIGTERM):  # the experiment's own process hears them, and asks to stop
        signal.signal(sign, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads stayed behind, and it would say so
    threading.Thread(target=_listen, args=(engine, stopped), daemon=True).start()
    new: list[Point] = []

    def keep(point: Point) -> None:
        """The experiment's own process writes it down."""
        engine.points.note(point)
        new.append(point)

    engine.judge.keep = keep
    while True:
        name = pipe.recv()
        entrant = next(one for one in engine.entrants if one.name == name)
        try:
            entrant.advance()
            if entrant.finished:
                judge, prepared = engine.judge, entrant.prepared
                judge.examine(name, prepared, lambda: judge.taught(prepared))  # noqa: B023  (is called now)
                give_back_what_is_free()
        except BaseException as fault:
            fault.add_note(traceback.format_exc())
            pipe.send(fault)
        else:
            pipe.send(News(name, tuple(new), entrant.standing, entrant.why, os.getpid()))
        new.clear()


def _listen(engine: "Engine", stopped: connection.Connection) -> None:
    """Hears that somebody asked to stop, and ends this process where the experiment's own has ended."""
    parent = multiprocessing.parent_process()
    assert parent
    ready = connection.wait([parent.sentinel, stopped])
    if parent.sentinel not in ready and stopped.poll():
        engine.stop.asked = True
        connection.wait([parent.sentinel])
    os._exit(1)
