"""Decisions on their way between machines: sealed and sent like flags, and fetched where others sent them.

    exchange = Exchange(outbox)
    exchange.seal()                   what was decided here becomes segments, each decision in one
    exchange.unconfirmed("flags")     what the Hub is not known to have; feedback/hub/sync.py sends it
    exchange.fetch("flags", 30)       what others decided is here after this

A segment is `data/reviews/v1/2026-11-21/20261121T093001Z-1f0c9a2b-<sha12 of its rows>.jsonl`. A decision goes
where its flag goes, so one on a safety flag only to the safety dataset; it stays here while its flag does,
since its note may quote it. Sending, fetching, taking up: each may be repeated, each segment counts once.
"""

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from backtalk import hub
from feedback.hub.dataset import REVIEWS, SAFETY, VARIABLES, home_of, named
from feedback.hub.known import KnownFlags
from feedback.hub.segment import Segment, Segments, is_segment, segment_name
from feedback.schema import now
from feedback.store.decisions import NAME, Decisions, Review, content_of
from feedback.store.outbox import Outbox

READERS = 8

Look = tuple[int, int]


class Exchange:
    """The decisions of one machine and those of all others."""

    def __init__(self, outbox: Outbox) -> None:
        self.decisions = Decisions(outbox.path.with_name(NAME))
        self.refused: list[str] = []  # why lines of others were not taken in
        self._known = KnownFlags(outbox)
        self._segments = Segments(outbox)
        self._fetched: dict[str, str] = {}  # by dataset: the commit that was looked through
        self._all_sealed: Look | None = None  # the file of decisions when nothing of it was left to seal

    def seal(self) -> int:
        """Seals the decisions whose flags may leave; returns how many."""
        look = self._look()
        if look is None or look == self._all_sealed:
            return 0
        sealed = self.decisions.seal(self._dataset, self._name)
        self._all_sealed = None if self.decisions.unsealed() else look
        return sealed

    def unconfirmed_names(self, dataset: str) -> list[str]:
        """The names of all segments that the Hub is not known to have, the oldest first."""
        here = self.decisions.segments(dataset)
        there = self._segments.confirmed(dataset, REVIEWS) if here else ()
        waiting = [name for name in here if name not in there]
        return [
            name for name in waiting if self.decisions.segment(dataset, name).stat().st_size
        ]  # else purged

    def unconfirmed(self, dataset: str, most: int) -> list[Segment]:
        """These segments, at most so many."""
        return [self.segment(dataset, name) for name in self.unconfirmed_names(dataset)[:most]]

    def segment(self, dataset: str, name: str) -> Segment:
        """A sealed segment that is here."""
        return Segment(dataset, name, self.decisions.segment(dataset, name).read_bytes())

    def waiting(self) -> Counter[str]:
        """How many decisions, by dataset, may leave and are not known to have arrived."""
        waiting = Counter(filter(None, map(self._dataset, self.decisions.unsealed())))
        for dataset in VARIABLES:
            for name in self.unconfirmed_names(dataset):
                waiting[dataset] += self.segment(dataset, name).content.count(b"\n")
        return waiting

    def take(self, dataset: str, name: str, content: bytes) -> int:
        """Makes a segment ours that a machine sealed whose disk is lost; 0 where it is known."""
        if self.decisions.segment(dataset, name).exists():
            return 0
        self.refused += self.decisions.keep(dataset, name, content)
        return content.count(b"\n")

    def fetch(self, dataset: str, patience: float) -> int:
        """Takes in the segments of others; returns how many. NetworkError where the Hub is not reached."""
        repository, end = named(dataset), time.monotonic() + patience
        head = hub.head(repository, patience)
        if head is None or self._fetched.get(dataset) == head.commit:
            return 0
        missing = sorted(
            name
            for name in hub.files(repository, head.commit, _left(end))
            if is_segment(REVIEWS, name) and not self.decisions.segment(dataset, name).exists()
        )

        def read(name: str) -> bytes:
            return hub.read(repository, name, head.commit, _left(end))

        with ThreadPoolExecutor(READERS) as readers:
            for name, content in zip(missing, readers.map(read, missing), strict=True):
                self._segments.find(dataset, [name], head.commit)  # first: else it would be sent once more
                self.refused += self.decisions.keep(dataset, name, content)
        self._fetched[dataset] = head.commit
        return len(missing)

    def _dataset(self, review: Review) -> str:
        """Where a decision goes: with its flag. One that is not here may be unsafe, for all that we know."""
        history = self._known.history(review.flag_id)
        if not history:
            return SAFETY
        stays = history[-1].op == "retract" or not history[-1].consent.scope
        return "" if stays else home_of(history)

    def _name(self, dataset: str, reviews: Sequence[Review]) -> str:
        return segment_name(REVIEWS, now(), self._segments.replica(), content_of(reviews))

    def _look(self) -> Look | None:
        """What tells whether the file of decisions has changed; None where nothing was decided."""
        try:
            found = self.decisions.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic())
