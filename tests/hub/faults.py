"""What goes wrong on the way to the Hub, on purpose: written down in order, or drawn with a seed.

faults.next("commit", cut(after=True), status(503))     the next two commits
faults.at_random(0.3, seed=7)                           three of ten requests, every kind below
faults.stop()
"""

import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar


@dataclass(frozen=True)
class Fault:
    """One fault. `after`: the request has taken effect, and only its answer suffers.

    Without `status` and `cut` the answer is merely late.
    """

    status: int = 0
    cut: bool = False
    half: bool = False  # half of the answer arrives before the connection is cut
    after: bool = False
    delay: float = 0.0
    retry_after: str = ""


def status(code: int, *, after: bool = False, retry_after: str = "") -> Fault:
    return Fault(status=code, after=after, retry_after=retry_after)


def cut(*, after: bool = False, half: bool = False) -> Fault:
    return Fault(cut=True, after=after or half, half=half)


def late(seconds: float) -> Fault:
    return Fault(delay=seconds)


EVERY_KIND: tuple[Callable[[random.Random], Fault], ...] = (
    lambda draw: status(draw.choice((408, 500, 502, 503, 504))),
    lambda draw: status(429, retry_after=draw.choice(("", "0", "1"))),
    lambda draw: status(409),
    lambda draw: status(412),
    lambda draw: status(draw.choice((500, 504)), after=True),
    lambda draw: cut(),
    lambda draw: cut(after=True),
    lambda draw: cut(half=True),
    lambda draw: late(draw.uniform(0.05, 0.5)),
)


DECK = 20  # requests
Card = TypeVar("Card")


class Faults:
    """Hands out the fault for each request, if it is to have one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._scripted: dict[str, deque[Fault]] = defaultdict(deque)
        self.drawn = self.dealt = 0  # requests, and those that had a fault
        self.stop()

    def next(self, route: str, *faults: Fault) -> None:
        """The next requests of this route ("commit", "preupload", ...; "*" is any) get these faults."""
        with self._lock:
            self._scripted[route].extend(faults)

    def at_random(self, share: float, seed: int = 0) -> None:
        """From now on this share of all requests gets a fault, every kind as often as any other.

        Both come from shuffled decks, so that a short run has its share of every kind too.
        """
        with self._lock:
            self._random = random.Random(seed)
            self._hit = _Deck(
                [True] * round(share * DECK) + [False] * round((1 - share) * DECK), self._random
            )
            self._kind = _Deck(EVERY_KIND, self._random)

    def stop(self) -> None:
        """From now on nothing goes wrong."""
        self._scripted.clear()
        self.at_random(0.0)

    def draw(self, route: str) -> Fault | None:
        with self._lock:
            fault = self._next(route)
            self.drawn += 1
            self.dealt += fault is not None
            return fault

    def _next(self, route: str) -> Fault | None:
        for name in (route, "*"):
            if self._scripted[name]:
                return self._scripted[name].popleft()
        return self._kind.draw()(self._random) if self._hit.draw() else None


class _Deck(Generic[Card]):
    """Cards in a random order, shuffled anew when all were drawn."""

    def __init__(self, cards: Sequence[Card], chance: random.Random):
        self._cards, self._chance = cards, chance
        self._left: list[Card] = []

    def draw(self) -> Card:
        if not self._left:
            self._left = self._chance.sample(self._cards, len(self._cards))
        return self._left.pop()
