"""Everybody's flags, as far as they are here: those of this machine and those that were fetched, each once.

    known = KnownFlags(outbox)
    known.standing()            the event that stands for each flag, the newest first
    known.history(flag_id)      all its events, wherever they were made

The questions are those that an outbox answers, and where nothing was fetched it answers them alone. An event
that is both here and there counts once; of a flag that was changed in two places, the last event stands.
"""

from collections.abc import Iterable, Iterator

from feedback.hub.fetched import Fetched, Place, Rank
from feedback.revisions import rank
from feedback.schema import FlagEvent
from feedback.store.outbox import Outbox

MOST_NAMES = 10  # of flags that begin alike
LAST_HERE = """
    SELECT flag_id, revision, op, json_extract(row, '$.created_at'), event_id FROM events AS event
    WHERE revision = (SELECT max(revision) FROM events WHERE flag_id = event.flag_id)
"""


class KnownFlags:
    """The flags that one machine knows."""

    def __init__(self, outbox: Outbox, fetched: Fetched | None = None) -> None:
        self._outbox = outbox
        self._fetched = fetched or Fetched.beside(outbox)

    @property
    def refused(self) -> list[str]:
        """Why lines that were fetched are not used."""
        return self._fetched.refused

    def current(self, name: str) -> FlagEvent | None:
        """The event that stands for this flag; None where there is none or it was withdrawn."""
        if not self._places(name):
            return self._outbox.current(name)
        last = next(reversed(self.history(name)), None)
        return last if last and last.op != "retract" else None

    def history(self, name: str) -> list[FlagEvent]:
        """All events of a flag, the first one first."""
        events = self._outbox.history(name)
        known = {rank(event) for event in events}
        others = (self._fetched.read(place) for place in self._places(name) if place.rank not in known)
        return sorted([*events, *filter(None, others)], key=rank)

    def find(self, prefix: str) -> list[str]:
        """The ids of the flags that begin with `prefix`, at most ten."""
        others = (name for name in self._fetched.flags() if name.startswith(prefix.lower()))
        return sorted({*self._outbox.find(prefix), *others})[:MOST_NAMES]

    def events(self) -> Iterator[FlagEvent]:
        """Every event: those of this machine in the order of arrival, then those of others by flag."""
        known = set()
        for event in self._outbox.events():
            known.add(rank(event))
            yield event
        for places in self._fetched.flags().values():
            yield from filter(None, (self._fetched.read(one) for one in places if one.rank not in known))

    def standing(self) -> Iterator[FlagEvent]:
        """The event that stands for each flag, the newest first; withdrawn flags are left out."""
        if not self._fetched.flags():
            yield from self._outbox.standing()
            return
        newest_first = sorted(
            ((at, name) for name, (_, withdrawn, at, _) in self._last() if not withdrawn), reverse=True
        )
        yield from filter(None, (self.current(name) for _, name in newest_first))

    def count(self) -> int:
        """How many flags stand."""
        if not self._fetched.flags():
            return self._outbox.counts().standing
        return sum(not withdrawn for _, (_, withdrawn, _, _) in self._last())

    def _last(self) -> Iterable[tuple[str, Rank]]:
        """The rank of the last event of each flag."""
        with self._outbox.transaction() as connection:
            last: dict[str, Rank] = {
                name: (revision, op == "retract", at, event_id)
                for name, revision, op, at, event_id in connection.execute(LAST_HERE)
            }
        for name, places in self._fetched.flags().items():
            there = next((one.rank for one in reversed(places) if self._counts(one)), None)
            if there:
                last[name] = max(there, last.get(name, there))
        return last.items()

    def _counts(self, place: Place) -> bool:
        """A line that withdraws is checked before it counts; any other is when it is shown."""
        return not place.rank[1] or self._fetched.read(place) is not None

    def _places(self, name: str) -> list[Place]:
        return self._fetched.flags().get(name, [])
