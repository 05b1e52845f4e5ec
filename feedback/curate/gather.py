"""Gather: every flag event and every decision from outboxes, segments and files; folded, each event once.

    gathered = gather([home() / "outbox.sqlite", home() / "segments"], controls)
    gathered.standing          flag id -> the candidate that stands (a withdrawn flag's too, with its fault)

A source is an outbox, a JSON-lines file (`.gz` too), or a folder of them, such as a clone of the dataset.
Flags (`flag/1`) and decisions (`review/1`) may lie in one file. What breaks its format is refused by line.
"""

import gc
import gzip
import json
import multiprocessing
import re
import signal
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from backtalk.engine.machine import usable_cores
from backtalk.errors import FlagError, WordsError
from backtalk.files import sha256_of
from backtalk.progress import Progress
from feedback import schema
from feedback.curate.candidate import Candidate
from feedback.store import decisions
from feedback.store.decisions import Decisions, Review
from feedback.store.outbox import Outbox

LINES_AT_ONCE = 200  # that a process reads before it tells what it found
ALONE_BELOW = 4_000_000  # bytes: other processes take longer to start than this takes to read


def add_sources(parser: ArgumentParser) -> None:
    """The option that names what is gathered, for every verb that does."""
    parser.add_argument(
        "--from",
        dest="sources",
        action="append",
        type=Path,
        metavar="PATH",
        help="an outbox, a .jsonl file or a folder of them (default: those of the state folder)",
    )


class Earlier(NamedTuple):
    """An event that a later one of the same flag has taken the place of."""

    flag_id: str
    revision: int
    event_id: str
    content_hash: str


class Refused(NamedTuple):
    """A line that is neither a flag event nor a decision."""

    place: str
    why: str


@dataclass
class Gathered:
    """What all sources say together, the same in whatever order they are read."""

    standing: dict[str, Candidate] = field(default_factory=dict)
    earlier: set[Earlier] = field(default_factory=set)
    refused: list[Refused] = field(default_factory=list)
    reviews: dict[str, Review] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    digest: str = ""

    @property
    def events(self) -> int:
        return len(self.standing) + len(self.earlier)


def gather(sources: Sequence[Path], controls: re.Pattern[str], progress: Progress | None = None) -> Gathered:
    """Reads all sources; the work is shared between processes where there is much of it."""
    gathered, reviews, progress = Gathered(), list[Review](), progress or Progress()
    files = [file for source in sources for file in _files(source)]
    for place, found in _read(files, partial(_understand, controls=controls)):
        if isinstance(found, Candidate):
            _fold(gathered, found)
        elif isinstance(found, Review) and controls.search(found.correction):
            gathered.refused.append(Refused(place, "The wording of this review holds a control token."))
        elif isinstance(found, Review):
            reviews.append(found)
        else:
            gathered.refused.append(Refused(place, found))
        if not gathered.events % 1000:
            progress.report(f"{gathered.events:,} events read")
    gathered.reviews = decisions.standing(reviews)
    gathered.inputs = [_input(file) for file in files]
    gathered.digest = _digest(gathered)
    progress.done(f"{gathered.events:,} events, {len(gathered.standing):,} flags, {len(reviews):,} decisions")
    return gathered


def _files(source: Path) -> list[Path]:
    """The files of a source in the order of their names."""
    if source.is_dir():
        return sorted(file for file in source.rglob("*.jsonl*") if file.suffix in (".jsonl", ".gz"))
    if not source.is_file():
        raise WordsError(f"{source} is not there; an outbox, a .jsonl file or a folder of them was wanted.")
    return [source]


Understood = Candidate | Review | str  # text: why it was refused


def _read(files: Sequence[Path], understand: "partial[Understood]") -> Iterator[tuple[str, Understood]]:
    stores = [file for file in files if file.suffix == ".sqlite"]
    for store in stores:
        yield from _of_outbox(store, understand)
    texts = [file for file in files if file not in stores]
    chunks = _chunks(line for file in texts for line in _lines(file))
    if sum(file.stat().st_size for file in texts) < ALONE_BELOW:
        for chunk in chunks:
            yield from _understand_all(chunk, understand)
        return
    with multiprocessing.get_context("spawn").Pool(usable_cores(), _begin_worker) as pool:
        for understood in pool.imap(partial(_understand_all, understand=understand), chunks):
            yield from understood


def _of_outbox(store: Path, understand: "partial[Understood]") -> Iterator[tuple[str, Understood]]:
    controls = understand.keywords["controls"]
    with closing(Outbox(store)) as outbox:
        for event in outbox.events():
            yield store.name, Candidate.of(event, controls)
    for review in Decisions(store.with_name(decisions.NAME)).events():
        yield decisions.NAME, review


def _lines(file: Path) -> Iterator[tuple[str, bytes]]:
    with gzip.open(file) if file.suffix == ".gz" else open(file, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{file.name}, line {number}", line


def _chunks(lines: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    while chunk := list(islice(lines, LINES_AT_ONCE)):
        yield chunk


def _understand_all(
    lines: Iterable[tuple[str, bytes]], understand: "partial[Understood]"
) -> list[tuple[str, Understood]]:
    return [(place, understand(line)) for place, line in lines]


def _understand(line: bytes, controls: re.Pattern[str]) -> Understood:
    try:
        row = json.loads(line) if len(line) <= schema.LONGEST_ROW else None
        if isinstance(row, dict) and row.get("format") == decisions.FORMAT:
            return decisions.from_row(row)
        return Candidate.of(schema.from_row(row if isinstance(row, dict) else line), controls)
    except (FlagError, ValueError, RecursionError) as fault:
        return str(fault)


def _fold(gathered: Gathered, found: Candidate) -> None:
    known = gathered.standing.get(found.flag_id)
    if known is None:
        gathered.standing[found.flag_id] = found
        return
    if known.rank == found.rank:
        return  # the same event from another source
    last, before = (found, known) if found.rank > known.rank else (known, found)
    gathered.standing[found.flag_id] = last
    gathered.earlier.add(Earlier(before.flag_id, before.revision, before.event_id, before.content_hash))


def _input(file: Path) -> dict[str, Any]:
    """A file as the card names it; an outbox changes with every flag, so its events are hashed instead."""
    content = {} if file.suffix == ".sqlite" else {"sha256": sha256_of(file), "bytes": file.stat().st_size}
    return {"path": str(file), **content}


def _digest(gathered: Gathered) -> str:
    """One hash of all events and decisions, whatever files they lie in."""
    hashes = [candidate.content_hash for candidate in gathered.standing.values()]
    hashes += [event.content_hash for event in gathered.earlier]
    hashes += [review.content_hash for review in gathered.reviews.values()]
    return sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def _begin_worker() -> None:
    """Interrupts are left to the first process; see `nothing_thrown_away`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()


@contextmanager
def nothing_thrown_away() -> Iterator[None]:
    """What is gathered stays to the end and holds no cycles; to look for some takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
