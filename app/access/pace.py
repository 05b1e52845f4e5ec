"""How often somebody may ask: so many times a minute, whoever they are.

    pace = Pace(60)
    pace.admits("203.0.113.7")      False at the 61st time within a minute

Addresses are kept in memory alone, as keyed hashes, and forgotten after the minute.
"""

import hashlib
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock

MINUTE_SECONDS = 60.0
MOST_KNOWN = 10_000  # who is remembered at once; the longest silent is forgotten first


class Pace:
    """Counts what each of many did in the last minute."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic):
        self._most, self._clock = most, clock
        self._key = secrets.token_bytes(16)
        self._times: OrderedDict[bytes, deque[float]] = OrderedDict()
        self._lock = Lock()

    def admits(self, who: str) -> bool:
        """Whether they may, once more, now; a refusal is not counted."""
        name, now = hashlib.blake2b(who.encode(), key=self._key, digest_size=16).digest(), self._clock()
        with self._lock:
            times = self._times.setdefault(name, deque())
            self._times.move_to_end(name)
            while len(self._times) > MOST_KNOWN:
                self._times.popitem(last=False)
            while times and times[0] <= now - MINUTE_SECONDS:
                times.popleft()
            if len(times) >= self._most:
                return False
            times.append(now)
            return True
