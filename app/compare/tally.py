"""How votes between two models stand: so many for one, so many for the other, and how sure one can be.

    tally = Tallies(outbox)
    tally.of(Side("mini", 0, "81f7..."), other)      Tally(first=7, second=3, both=1, neither=0)

A vote is two flags, one on each answer; the one on answer A is counted. Counted are standing votes that were
given before the names were shown.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

from feedback.review.insights import Share
from feedback.store.arrivals import Arrival, arrivals, newest
from feedback.store.outbox import Outbox

A_BETTER, B_BETTER, BOTH_GOOD, BOTH_BAD = "a_better", "b_better", "tie_good", "both_bad"
CHOICES = (A_BETTER, B_BETTER, BOTH_GOOD, BOTH_BAD)
SHA_CHARACTERS = 8
WRITTEN = re.compile(r"(?P<name>.*), round (?P<round>\d{1,9})(, (?P<sha>[0-9a-f]{8}))?", re.DOTALL)


class Side(NamedTuple):
    """A model as a vote knows it; `sha` is the beginning of its file's sha256, empty for an endpoint."""

    name: str
    round: int
    sha: str

    @staticmethod
    def of(model: dict[str, Any]) -> "Side":
        """From what an answer says of its model."""
        return Side(model["name"], model["round"], model["gguf_sha256"][:SHA_CHARACTERS])

    @staticmethod
    def read(text: str) -> "Side | None":
        """From a flag's `other_model`; None where it is not written so."""
        found = WRITTEN.fullmatch(text)
        return Side(found["name"], int(found["round"]), found["sha"] or "") if found else None

    def __str__(self) -> str:
        return f"{self.name}, round {self.round}" + (f", {self.sha}" if self.sha else "")


@dataclass(frozen=True)
class Tally:
    """Votes between two models: for the first, for the second, both good, both bad."""

    first: int = 0
    second: int = 0
    both: int = 0
    neither: int = 0

    @property
    def votes(self) -> int:
        return self.first + self.second + self.both + self.neither

    @property
    def share(self) -> Share:
        """Of the votes that prefer one, those for the first; with its Wilson interval."""
        return Share(self.first, self.first + self.second)

    def to_json(self) -> dict[str, Any]:
        low, high = self.share.interval
        return {
            "first": self.first,
            "second": self.second,
            "both": self.both,
            "neither": self.neither,
            "share": round(self.share.value, 4),
            "from": round(low, 4),
            "to": round(high, 4),
        }


class Tallies:
    """Counts the votes of one outbox; each event is read once, when somebody next asks."""

    def __init__(self, outbox: Outbox):
        self._outbox = outbox
        self._seen = 0
        self._votes: dict[str, tuple[Side, Side, str]] = {}  # flag -> model of A, model of B, choice
        self._lock = Lock()

    def of(self, first: Side, second: Side) -> Tally:
        """The votes between these two, wherever they stood."""
        count: Counter[str] = Counter()
        with self._lock:
            self._read_on()
            for a, b, choice in self._votes.values():
                if (a, b) == (first, second):
                    count[choice] += 1
                elif (b, a) == (first, second):
                    count[{A_BETTER: B_BETTER, B_BETTER: A_BETTER}.get(choice, choice)] += 1
        return Tally(*(count[choice] for choice in CHOICES))

    def _read_on(self) -> None:
        if newest(self._outbox) < self._seen:  # the file was moved aside and made anew
            self._seen, self._votes = 0, {}
        for one in arrivals(self._outbox, self._seen):
            self._seen = one.seq
            vote = _vote(one)
            if vote:
                self._votes[one.flag_id] = vote
            else:
                self._votes.pop(one.flag_id, None)


def _vote(event: Arrival) -> tuple[Side, Side, str] | None:
    """The vote of an event on answer A that was given blind; None for any other event."""
    if event.op == "retract" or not event.extras:
        return None
    said = json.loads(event.extras).get("comparison") or {}
    other = Side.read(str(said.get("other_model", "")))
    if said.get("position") != "a" or not said.get("blind") or said.get("choice") not in CHOICES or not other:
        return None
    return Side(event.model, event.round, event.sha256[:SHA_CHARACTERS]), other, said["choice"]
