"""One engine's time at the desk: from the answer that it gives first to the end of its last.

shift = Shift(engine)
shift.begin()              an answer begins, and holds the engine
shift.end()                it has ended, or its reader went away; never blocks
shift.relieve()            another engine answers now: this one is closed once nobody holds it
"""

from threading import Condition, Thread

from backtalk.engine import Engine


class Shift:
    """Counts the answers that an engine still owes."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self._owed = 0
        self._changed = Condition()

    @property
    def owed(self) -> int:
        return self._owed

    def begin(self) -> None:
        with self._changed:
            self._owed += 1

    def end(self) -> None:
        with self._changed:
            self._owed -= 1
            self._changed.notify_all()

    def relieve(self) -> Thread:
        """The thread that waits for the last answer and then closes the engine."""
        waiting = Thread(target=self._close_when_free, name="close the model before", daemon=True)
        waiting.start()
        return waiting

    def _close_when_free(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._owed == 0)
        self.engine.close()
