"""Flags on their way to the Hub: sealed, sent, confirmed, at a pace that the Hub can bear; or calmly waiting.

    sync = Sync(outbox).start()        beside the app: looks every two seconds what there is to send
    sync.stop()                        the last flush, within ten seconds; also done at exit
    status(outbox).sentence            "3 events wait: HF_TOKEN is not set ...", for people

    backtalk flags sync                the same once, now, in the terminal

Decisions of maintainers go the same way, and those of others are fetched every five minutes. Where a volume
is mounted (BACKTALK_VOLUME), what waits lies on it too.

A row counts as sent only after the Hub has confirmed its commit; repeating is harmless. Any number of
replicas write to one dataset without knowing of each other: no two ever write the same file. Without a token,
a network or a dataset's name everything waits, and the app does not notice.
"""

import atexit
import fcntl
import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event, Thread

from backtalk import hub
from backtalk.errors import BacktalkError, NetworkError, WordsError
from feedback.hub.dataset import CARD, SAFETY, TAKEN, VARIABLES, named, readme, with_reviews
from feedback.hub.exchange import Exchange
from feedback.hub.pace import MOST_COMMITS, Pace
from feedback.hub.segment import Course, Segment, Segments, sealed_time
from feedback.hub.volume import VOLUME, Keeper, mounted
from feedback.store.outbox import Outbox

LOOK_SECONDS = 2.0
LOOK_PATIENCE = 30.0  # short, since there is a next look, and since the last flush waits for this one to end
FETCH_SECONDS = 300.0  # between looks for what others decided
MOST_SEGMENTS = 100  # in one commit: the Hub asks for no more files
FLUSH_SECONDS = 10.0
COMPACTED_AFTER = timedelta(hours=24)
LINE_END = b"\n"
LATE_AFTER = COMPACTED_AFTER - timedelta(hours=1)  # an hour for clocks that disagree


@dataclass(frozen=True)
class Status:
    """How far the flags of this machine have come, and what holds up the rest."""

    course: Course
    hindrances: tuple[BacktalkError, ...] = ()
    decisions: dict[str, int] = field(default_factory=dict)  # that wait, by dataset

    @property
    def reason(self) -> str:
        """All that holds them up."""
        return " ".join(dict.fromkeys(map(str, self.hindrances)))

    @property
    def waits(self) -> bool:
        """Whether anything has still to be sent."""
        return bool(self.course.waiting or self.decisions)

    @property
    def sentence(self) -> str:
        course = self.course
        parts = []
        if course.confirmed:
            parts.append(f"{_events(course.confirmed)} on the Hub, the newest at commit {course.commit[:7]}.")
        waiting = [_events(count) for count in [sum(course.waiting.values())] if count]
        if decisions := sum(self.decisions.values()):
            waiting.append(f"{decisions} decision{'s' * (decisions != 1)}")
        if waiting:
            parts.append(f"{' and '.join(waiting)} to send.")
        if self.reason:
            parts.append(self.reason)
        if course.without_consent:
            parts.append(f"{_events(course.without_consent)} kept on this machine: no consent to send.")
        return " ".join(parts) or "No events yet."


def status(outbox: Outbox) -> Status:
    """How far the flags have come, as anybody on this machine sees it."""
    course, decisions = Segments(outbox).course(), Exchange(outbox).waiting()
    found = [_hindrance(outbox, course, dataset) for dataset in {**course.waiting, **decisions}]
    found.append(_met(course, VOLUME))
    return Status(course, tuple(filter(None, found)), dict(decisions))


def _hindrance(outbox: Outbox, course: Course, dataset: str) -> BacktalkError | None:
    if missing := _missing(dataset):
        return missing
    if Segments(outbox).commits_of_the_day(dataset) >= MOST_COMMITS:
        return BacktalkError(
            f"{MOST_COMMITS} commits went to {named(dataset)} in 24 hours, a day's most; it goes on later."
        ).called("full_day", most=MOST_COMMITS, dataset=named(dataset))
    return _met(course, dataset)


def _met(course: Course, place: str) -> BacktalkError | None:
    """What the last try to send there met; kept as a sentence, since another process may have tried."""
    said = course.hindrances.get(place, "")
    return NetworkError(said).called("not_sent") if said else None


class Sync:
    """Sends what the outbox may send. A second process on the same outbox finds it taken and leaves it be."""

    def __init__(self, outbox: Outbox, pace: Pace | None = None, look_seconds: float = LOOK_SECONDS) -> None:
        self._outbox = outbox
        self._segments = Segments(outbox)
        self._exchange = Exchange(outbox)
        volume = mounted()
        self._keeper = Keeper(outbox, volume, look_seconds) if volume else None
        self._fetched_at = float("-inf")
        self._pace = pace or Pace()
        self._look_seconds = look_seconds
        self._known: set[str] = set()  # datasets that were seen to be there, with a card
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="sync", daemon=True)

    def start(self) -> "Sync":
        if any(map(named, VARIABLES)):
            hub.load_client()  # while it can be: a process that is ending loads nothing more
        if self._keeper:
            self._keeper.start()
        self._thread.start()
        atexit.register(self.stop)  # for an end that nobody announced; SIGTERM has to become an orderly one
        return self

    def stop(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Sends what is left, if the Hub answers in time; False where something may still be under way.

        Nothing is lost either way: what was not confirmed is sent again at the next start.
        """
        atexit.unregister(self.stop)
        self._stopping.set()
        if self._keeper:
            self._keeper.stop()
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def flush(self, patience: float = hub.PATIENCE_SECONDS) -> bool:
        """Sends everything now, whatever the pace; what hinders it is then in `status`.

        False where another process is sending from this outbox.
        """
        with turn(self._outbox.path) as ours:
            if ours:
                self._send_all(patience)
        return ours

    def look(self) -> None:
        """One look at what there is to send: nothing happens before the pace allows it."""
        with turn(self._outbox.path) as ours:
            if ours:
                self._send_if_due()
                self._fetch_if_due()

    def _send_if_due(self) -> None:
        most = max(self._segments.commits_of_the_day(dataset) for dataset in VARIABLES)
        if self._pace.seconds_left(most) > 0:
            return
        if self._send_all(LOOK_PATIENCE):
            self._pace.went()
        else:
            self._pace.nothing_waits()

    def _fetch_if_due(self) -> None:
        """What others decided comes in at the start, then every five minutes; a fault waits for the next."""
        if time.monotonic() - self._fetched_at < FETCH_SECONDS:
            return
        self._fetched_at = time.monotonic()
        for dataset in _open_ways():
            with suppress(NetworkError):
                self._exchange.fetch(dataset, LOOK_PATIENCE)

    def _run(self) -> None:
        while not self._stopping.wait(self._look_seconds):
            self._go_on_after(self.look)
        self._go_on_after(partial(self.flush, FLUSH_SECONDS - 1))

    def _go_on_after(self, work: Callable[[], object]) -> None:
        """Nothing ends the syncing of a long-running app: what fails now is tried again."""
        try:
            work()
        except BacktalkError:  # a full disk, say: the app says so where it saves
            self._pace.went()
        except Exception:  # a defect of ours
            self._pace.went()
            traceback.print_exc()

    def _send_all(self, patience: float) -> bool:
        """Seals and sends; True where something was tried."""
        end = time.monotonic() + patience
        open_ways = _open_ways()
        while open_ways and self._segments.seal():
            pass
        if open_ways:
            self._exchange.seal()
        return any([self._send(dataset, end) for dataset in open_ways])

    def _send(self, dataset: str, end: float) -> bool:
        """Sends the sealed segments of a dataset, a commit for each batch; True where something was tried."""
        tried = False
        while batch := self._batch(dataset):
            if self._segments.commits_of_the_day(dataset) >= self._pace.commits_a_day:
                break
            tried = True
            try:
                commit = self._deliver(dataset, batch, end)
            except NetworkError as fault:
                self._known.discard(dataset)
                self._segments.hinder(dataset, str(fault))
                break
            self._segments.confirm(dataset, [segment.name for segment in batch], commit)
        return tried

    def _batch(self, dataset: str) -> list[Segment]:
        """What goes with the next commit: flags, and decisions where there is room."""
        flags = self._segments.unconfirmed(dataset, MOST_SEGMENTS)
        return flags + self._exchange.unconfirmed(dataset, MOST_SEGMENTS - len(flags))

    def _deliver(self, dataset: str, batch: list[Segment], end: float) -> str:
        """The commit that holds all of the batch, confirmed."""
        card = {} if dataset in self._known else _card_if_out_of_date(dataset, end)
        newest_late = datetime.now(UTC) - LATE_AFTER
        if any(sealed_time(segment.name) < newest_late for segment in batch):
            commit = _deliver_late(named(dataset), batch, card, end)
        else:
            add = card | {segment.name: segment.content for segment in batch}
            commit = hub.commit(named(dataset), add, _message(batch), patience=_left(end))
        if dataset != SAFETY:  # that one is looked at each time: it may have been made public meanwhile
            self._known.add(dataset)
        return commit


def _card_if_out_of_date(dataset: str, end: float) -> dict[str, bytes]:
    """The dataset is there after this; its card, if it has none or one that knows no decisions."""
    repository = named(dataset)
    head = hub.head(repository, _left(end))
    if head is None:
        hub.create_private(repository, _left(end))
        head = hub.head(repository, _left(end))
    if head is None:
        raise NetworkError(f"The Hub has no dataset {repository} that the token in HF_TOKEN may see.")
    if dataset == SAFETY and not head.private:
        raise NetworkError(
            f"The dataset {repository} is public, and safety flags go to a private one only. Make it "
            "private in its settings."
        )
    if CARD not in hub.files(repository, head.commit, _left(end)):
        return {CARD: readme(dataset)}
    there = hub.read(repository, CARD, head.commit, _left(end))
    card = with_reviews(there)
    return {CARD: card} if card != there else {}


def _deliver_late(repository: str, batch: list[Segment], card: dict[str, bytes], end: float) -> str:
    """For segments old enough that a compaction may have taken them: what it took is not added again.

    Each try goes on top of the commit that was looked at, so that no compaction can come in between.
    """
    while True:
        head = hub.head(repository, _left(end))
        if head is None:
            raise NetworkError(
                f"The dataset {repository} has gone from the Hub. It is made again at the next try."
            )
        there = hub.files(repository, head.commit, _left(end))
        there |= segments_taken(repository, head.commit, there, end)
        add = {segment.name: segment.content for segment in batch if segment.name not in there}
        if not add:
            return head.commit
        commit = hub.commit(repository, card | add, _message(batch), parent=head.commit, patience=_left(end))
        if commit:
            return commit
        if not _left(end):
            raise NetworkError(f"Others write to {repository} all the time. It is tried again later.")


def segments_taken(repository: str, commit: str, there: frozenset[str], end: float) -> frozenset[str]:
    """The segments that live on in a shard, by the lists that compaction keeps."""
    lists = [path for path in there if path.startswith(f"{TAKEN}/")]
    return frozenset(
        name
        for path in lists
        for name in json.loads(hub.read(repository, path, commit, _left(end)))["segments"]
    )


def _open_ways() -> list[str]:
    """The datasets that can be reached, for all that is set."""
    return [dataset for dataset in VARIABLES if not _missing(dataset)]


def _missing(dataset: str) -> BacktalkError | None:
    """What has to be set before anything can be sent there; None where nothing is missing."""
    if not named(dataset):
        return WordsError(
            f"{VARIABLES[dataset]} is not set: give it the dataset to send to, as owner/name."
        ).called("no_dataset", variable=VARIABLES[dataset])
    if not hub.has_token():
        return WordsError(f"HF_TOKEN is not set: it takes a token that may write {named(dataset)}.").called(
            "no_token", dataset=named(dataset)
        )
    return None


def _message(batch: list[Segment]) -> str:
    return f"{_events(sum(segment.content.count(LINE_END) for segment in batch))}"


def _events(count: int) -> str:
    return f"{count} event{'s' * (count != 1)}"


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic())


@contextmanager
def turn(outbox: Path) -> Iterator[bool]:
    """Whether it is ours to send from this outbox; no two processes do so at once."""
    with open(outbox.with_name(f"{outbox.name}.sync.lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
