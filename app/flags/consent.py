"""What a visitor agreed to, as the page sends it, and who flags faster than anybody reads.

    agreed({"version": "c1", "scope": "flag_only", "training": True, "at": "..."})      -> Consent

Promise: only an answer to the text of today counts; whatever else comes is no consent, and nothing leaves
this machine. Too many flags an hour are saved like any others, and never trained on.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime
from functools import cache
from threading import Lock
from typing import Any

from app.ui.words import read_words
from backtalk.errors import FlagError
from feedback.schema import SCOPES, Consent
from feedback.store.saving import MANY_AN_HOUR

PARTS = {"version", "scope", "training", "at"}
HOUR_SECONDS = 3600.0
MOST_KNOWN = 10_000  # contributors that are remembered at once


@cache  # asked at every saved flag, and reading the words takes longer than saving it
def version() -> str:
    """The id of the text that is shown today."""
    return str(read_words()["consent_version"])


def agreed(value: Any) -> Consent | None:
    """What the visitor agreed to; None where the page says nothing. Raises FlagError for a wrong form."""
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != PARTS or value["scope"] not in SCOPES:
        raise _odd("has another form than this page gives it")
    if not isinstance(value["training"], bool) or not _is_moment(value["at"]):
        raise _odd("says neither yes nor no to training, or not when")
    if value["version"] != version() or not value["scope"]:
        return Consent()
    return Consent(value["version"], value["scope"], value["training"], at=value["at"])


class Haste:
    """Notices contributors who flag more answers in an hour than anybody reads."""

    def __init__(self, most: int = MANY_AN_HOUR, clock: Callable[[], float] = time.monotonic):
        self._most, self._clock = most, clock
        self._flagged: OrderedDict[str, deque[tuple[float, str]]] = OrderedDict()
        self._lock = Lock()

    def in_haste(self, contributor: str, flag: str) -> bool:
        """Counts the flag once, and says whether the contributor is over the limit."""
        now = self._clock()
        with self._lock:
            recent = self._flagged.setdefault(contributor, deque(maxlen=self._most + 1))
            self._flagged.move_to_end(contributor)
            while len(self._flagged) > MOST_KNOWN:
                self._flagged.popitem(last=False)
            while recent and recent[0][0] < now - HOUR_SECONDS:
                recent.popleft()
            if all(known != flag for _, known in recent):
                recent.append((now, flag))
            return len(recent) > self._most

    def is_over(self, contributor: str) -> bool:
        """Whether the contributor is over the limit now; counts nothing."""
        hour_ago = self._clock() - HOUR_SECONDS
        with self._lock:
            recent = self._flagged.get(contributor, ())
            return sum(at >= hour_ago for at, _ in recent) > self._most


def _is_moment(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _odd(what: str) -> FlagError:
    return FlagError(
        f"The consent of this flag {what}. Reload the page and say it again; nothing was sent."
    ).called("out_of_step")
