"""A mounted volume: what is sealed lies on it within five seconds, until the Hub is known to have it.

    keeper = Keeper(outbox, folder).start()     beside `sync.py`, where BACKTALK_VOLUME names a folder
    keeper.stop()

On a Space the disk is lost at every restart; what had not reached the Hub yet is then taken up from here,
once, under the names that it had: whoever had sent a part of it before has sent the same files. SQLite stays
on the local disk; only whole files go to the volume, at `BACKTALK_VOLUME/DATASET/NAME-OF-THE-SEGMENT`.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from backtalk.errors import FlagError, OutboxError
from backtalk.files import writing
from feedback.hub.dataset import FOLDER, REVIEWS, VARIABLES
from feedback.hub.erase import without
from feedback.hub.exchange import Exchange
from feedback.hub.segment import Segments, is_segment
from feedback.store.outbox import Outbox

VOLUME = "volume"  # among the hindrances
LOOK_SECONDS = 2.0
STOP_SECONDS = 5.0


class Place(NamedTuple):
    """A segment of a dataset."""

    dataset: str
    name: str


def mounted() -> Path | None:
    """The folder in BACKTALK_VOLUME; None where none is named."""
    named = os.environ.get("BACKTALK_VOLUME", "").strip()
    return Path(named) if named else None


class Keeper:
    """Keeps a copy of everything that is on its way, in a thread of its own: a slow Hub does not delay it."""

    def __init__(self, outbox: Outbox, folder: Path, look_seconds: float = LOOK_SECONDS) -> None:
        self.notices: list[str] = []  # of files on the volume that could not be taken up
        self._folder = folder
        self._segments = Segments(outbox)
        self._exchange = Exchange(outbox)
        self._look_seconds = look_seconds
        self._there: set[Place] | None = None  # on the volume; unknown before it was looked through
        self._hindered = True  # perhaps, by an earlier process
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="volume", daemon=True)

    def start(self) -> "Keeper":
        self._thread.start()
        return self

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """One last look, then the end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def look(self) -> None:
        """Takes up what lies there from earlier, writes what is new, removes what the Hub has.

        Where the volume fails, the outbox remembers it for whoever asks, and the next look tries again.
        """
        try:
            if not self._folder.is_dir():
                raise FileNotFoundError(2, "it is not mounted")
            if self._there is None:
                self._there = set(self._take_up())
            self._mirror(self._there)
        except OSError as fault:
            reason = fault.strerror or str(fault)
            self._segments.hinder(
                VOLUME, f"The volume {self._folder} takes nothing ({reason}). Check its mount."
            )
            self._hindered = True
            return
        if self._hindered:
            self._segments.unhinder(VOLUME)
            self._hindered = False

    def _take_up(self) -> Iterator[Place]:
        """Makes ours what another machine left on the volume; the places of all that is known now."""
        for place in _places(self._folder):
            content = (self._folder / place.dataset / place.name).read_bytes()
            try:
                self._take(place, content)
                yield place
            except FlagError as fault:
                self.notices.append(f"{place.name} on the volume was left there: {fault}")

    def _take(self, place: Place, content: bytes) -> int:
        if not content.endswith(b"\n"):
            raise FlagError("its end is missing.")
        taker = self._exchange if is_segment(REVIEWS, place.name) else self._segments
        return taker.take(*place, content)

    def _mirror(self, there: set[Place]) -> None:
        while self._segments.seal():
            pass
        self._exchange.seal()
        sources = {
            Place(dataset, name): source
            for dataset in VARIABLES
            for source in (self._segments, self._exchange)
            for name in source.unconfirmed_names(dataset)
        }
        for place in sorted(sources.keys() - there):
            with writing(self._folder / place.dataset / place.name) as file:
                file.write(sources[place].segment(*place).content)
            there.add(place)
        for place in sorted(there - sources.keys()):
            (self._folder / place.dataset / place.name).unlink(missing_ok=True)
            there.remove(place)

    def _run(self) -> None:
        while True:
            last = self._stopping.is_set()
            try:
                self.look()
                self._tell()
            except OutboxError:  # a full disk, say: the app says so where it saves
                pass
            except Exception:  # a defect of ours: it is tried again
                traceback.print_exc()
            if last:
                return
            self._stopping.wait(self._look_seconds)

    def _tell(self) -> None:
        for notice in self.notices:
            print(notice, file=sys.stderr, flush=True)
        self.notices.clear()


def forget(flag: str) -> int:
    """Takes a flag's rows out of the files on the volume, for a purge; returns how many."""
    folder, gone = mounted(), 0
    if folder is None:
        return 0
    for place in _places(folder):
        path = folder / place.dataset / place.name
        kept, rows = without(path.read_bytes(), path.name, flag)
        if rows and kept:
            with writing(path) as file:
                file.write(kept)
        elif rows:
            path.unlink()
        gone += rows
    return gone


def _places(folder: Path) -> Iterator[Place]:
    for dataset in VARIABLES:
        for path in sorted((folder / dataset).rglob("*.jsonl")):
            name = path.relative_to(folder / dataset).as_posix()
            if is_segment(FOLDER, name) or is_segment(REVIEWS, name):
                yield Place(dataset, name)
