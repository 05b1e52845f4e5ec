"""Where a visitor's flags are: saved here, waiting to be sent, on the Hub at a commit.

    receipts = Receipts(outbox)
    receipts.of(flag_id)        {"state": "hub", "withdrawn": False, "commit": "abc1234", "reason": ""}

Promise: "on the Hub" is said only of what the Hub has confirmed; what waits says why, where anybody knows.
"""

import time
from threading import Lock
from typing import Any

from feedback.hub.dataset import FLAGS, named
from feedback.hub.segment import Segments
from feedback.hub.sync import Status, status
from feedback.schema import FlagEvent
from feedback.store.outbox import Outbox

HERE, WAITING, HUB = "here", "waiting", "hub"
COMMIT_CHARACTERS = 7  # of a commit's hash: as git shows it
FRESH_SECONDS = 2.0  # the state of the whole outbox is counted at most so often, however many ask


def is_sending() -> bool:
    """Whether flags may leave this machine at all: somebody named the dataset that they go to."""
    return bool(named(FLAGS))


class Receipts:
    """Reads how far the flags of one outbox have come."""

    def __init__(self, outbox: Outbox):
        self._outbox, self._segments = outbox, Segments(outbox)
        self._status: Status | None = None
        self._read_at = float("-inf")
        self._lock = Lock()

    def of(self, flag: str) -> dict[str, Any] | None:
        """Where the newest event of a flag is; None where there is no such flag here."""
        history = self._outbox.history(flag)
        if not history:
            return None
        newest = history[-1]
        commit = self._commit(newest)
        state = HUB if commit else WAITING if self._will_leave(newest) else HERE
        return {
            "state": state,
            "withdrawn": newest.op == "retract",
            "commit": commit,
            **(self._why_waiting() if state == WAITING else {"reason": ""}),
        }

    def left_at(self, flag: str) -> str:
        """The newest commit that holds something of the flag; empty where nothing is known to have left."""
        commits = [self._commit(event) for event in reversed(self._outbox.history(flag))]
        return next(filter(None, commits), "")

    def _commit(self, event: FlagEvent) -> str:
        return self._segments.commit_of(event.event_id)[:COMMIT_CHARACTERS]

    def _will_leave(self, newest: FlagEvent) -> bool:
        """A vote with consent; a withdrawal where something of its flag has left before."""
        if not is_sending():
            return False
        return bool(self.left_at(newest.flag_id) if newest.op == "retract" else newest.consent.scope)

    def _why_waiting(self) -> dict[str, Any]:
        """The reason, and the words for the first of what hinders."""
        with self._lock:
            if self._status is None or time.monotonic() - self._read_at > FRESH_SECONDS:
                self._status, self._read_at = status(self._outbox), time.monotonic()
            first = self._status.hindrances[:1]
            return {"reason": self._status.reason, **(first[0].words if first else {})}
