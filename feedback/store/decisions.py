"""A maintainer's decision on a flag, `review/1`: append-only events, each knowing the one that it follows.

    decisions = Decisions.at_home()
    decisions.decide(Review(flag_id=..., after="", state="accepted", by="ada", matter=matter_of(event)))
    decisions.conflicts()             where maintainers decided apart, and nobody has decided since

Two maintainers at once do not overwrite each other: a decision is only taken if the last one on its flag is
still the one that the maintainer saw. Where two machines decided apart, the first one counts and the other is
overtaken, in whatever order the events arrive. A decision speaks of what the flag said at that time: when its
contributor changes the vote or the correction, the flag is new again.

What was decided here lies in `reviews.jsonl`; what goes to the Hub, or came from there, in sealed segments
under `reviews/`, as they are on the Hub. A decision may lie in both; it counts once.
"""

import fcntl
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from backtalk.errors import BacktalkError, FlagError
from backtalk.files import canonical_json, sync_folder, write_jsonl, writing
from backtalk.home import home
from feedback import columns as column
from feedback.columns import clean, plain, read, spell_out_moments
from feedback.redact import mask
from feedback.schema import LONGEST_COMMENT, LONGEST_CORRECTION, FlagEvent, new_event_id, now

FORMAT = "review/1"
NAME = "reviews.jsonl"
MOST_BYTES = 4_000_000  # of a segment, as of those of flags
STATES = ("new", "accepted", "rejected", "needs_reference", "system", "safety")  # "agreed" is computed


@dataclass(frozen=True, slots=True)
class Review:
    """One decision. `correction`: the maintainer's own wording, in place of the contributor's."""

    format: str = column.text(20, one_of=(FORMAT,), default=FORMAT)
    review_id: str = column.text(36, name=True)
    flag_id: str = column.text(36, name=True)
    after: str = column.text(36, name=True)
    state: str = column.text(20, one_of=STATES, default="new")
    by: str = column.text(80)
    at: str = column.text(40, name=True)
    note: str = column.text(LONGEST_COMMENT, free=True)
    correction: str = column.text(LONGEST_CORRECTION)
    matter: str = column.text(64, name=True)
    content_hash: str = column.text(64, name=True)


class OvertakenError(BacktalkError):
    """Somebody decided on this flag since it was looked at; nothing was written."""


def matter_of(event: FlagEvent) -> str:
    """A hash of what a maintainer judges: answer, vote, reasons, words. Consent may change without it."""
    reasons = sorted(reason.id for reason in event.reasons)
    words = [event.answer.text, event.verdict, *reasons, event.comment, event.correction.text]
    if choice := event.extras.comparison.choice:  # of a flag on one of two answers side by side
        words.append(choice)
    return hashlib.sha256(canonical_json(words)).hexdigest()


def content_hash(review: Review) -> str:
    """SHA-256 of the canonical row without this column."""
    return hashlib.sha256(canonical_json(plain(replace(review, content_hash="")))).hexdigest()


def from_row(row: Any) -> Review:
    """The review of a row; anything that breaks the format is refused with a reason."""
    faults: list[str] = []
    review = read(Review, row, "", faults)
    if not faults:
        needed = ("review_id", "flag_id", "by", "at", "matter")
        faults = [f"{name} is empty" for name in needed if not getattr(review, name)]
        if review.content_hash != content_hash(review):
            faults.append("content_hash does not belong to the content")
    if faults:
        raise FlagError(f"This review was refused: {'; '.join(faults[: column.MOST_FAULTS])}.")
    return review


def to_row(review: Review) -> dict[str, Any]:
    """The review as one JSON line holds it."""
    return plain(review)


def content_of(reviews: Iterable[Review]) -> bytes:
    """The reviews as lines."""
    return b"".join(canonical_json(to_row(review)) + b"\n" for review in reviews)


def standing(reviews: Iterable[Review]) -> dict[str, Review]:
    """The last decision on each flag, the same in whatever order they arrive.

    From the first decision on, each is followed by the earliest of those that saw it as the last.
    """
    followers: dict[tuple[str, str], Review] = {}
    flags = set()
    for review in reviews:
        place = (review.flag_id, review.after)
        known = followers.get(place)
        if known is None or _order(review) < _order(known):
            followers[place] = review
        flags.add(review.flag_id)
    return {name: last for name in sorted(flags) if (last := _last(name, followers))}


@dataclass(frozen=True, slots=True)
class Conflict:
    """A flag on which maintainers decided apart: what stands, and what was overtaken, the earliest first."""

    stands: Review
    overtaken: tuple[Review, ...]


def conflicts(reviews: Iterable[Review]) -> dict[str, Conflict]:
    """The flags on which maintainers said different things, until somebody decides on them again.

    A decision that was overtaken is shown while it is later than the one that stands: whoever decides later,
    on top of what stands, has settled it. The same in whatever order the decisions arrive.
    """
    known = {review.content_hash: review for review in reviews}
    last = standing(known.values())
    overtaken: defaultdict[str, list[Review]] = defaultdict(list)
    for review in sorted(known.values(), key=_order):
        stands = last.get(review.flag_id)
        if stands and review != stands and review.at >= stands.at and _word(review) != _word(stands):
            overtaken[review.flag_id].append(review)
    return {flag: Conflict(last[flag], tuple(overtaken[flag])) for flag in sorted(overtaken)}


def _word(review: Review) -> tuple[str, str, str]:
    return review.state, review.correction, review.matter


def _order(review: Review) -> tuple[str, str, str]:
    return review.at, review.review_id, review.content_hash


def _last(flag: str, followers: Mapping[tuple[str, str], Review]) -> Review | None:
    last, seen = None, {""}
    review = followers.get((flag, ""))
    while review and review.review_id not in seen:  # a forged circle ends where it began
        last = review
        seen.add(review.review_id)
        review = followers.get((flag, review.review_id))
    return last


class Decisions:
    """The decisions that one machine knows: files that only grow, each decision on disk before it is told."""

    def __init__(self, path: Path):
        self.path = path
        self.folder = path.with_suffix("")  # of the segments: folder/DATASET/NAME

    @staticmethod
    def at_home() -> "Decisions":
        """Those in the state folder."""
        return Decisions(home() / NAME)

    def decide(self, *drafts: Review) -> list[Review]:
        """Writes decisions on one or several flags if each one's `after` still is the last on its flag.

        All are written or none: OvertakenError.
        """
        reviews = [_completed(draft) for draft in drafts]
        with self._alone():
            last = self.standing()
            for review in reviews:
                found = last.get(review.flag_id)
                if (found.review_id if found else "") != review.after:
                    raise OvertakenError(_overtaken(review.flag_id, found))
            self._append(reviews)
        return reviews

    def seal(self, named: Callable[[Review], str], sealed: Callable[[str, Sequence[Review]], str]) -> int:
        """Seals what was decided here and is in no segment yet; returns how many decisions were sealed.

        `named` says to which dataset a decision goes (empty: it stays), `sealed` how the segment is called.
        """
        leaving: defaultdict[str, list[Review]] = defaultdict(list)
        with self._alone():
            for review in self.unsealed():
                if dataset := named(review):
                    leaving[dataset].append(review)
            for dataset, reviews in leaving.items():
                for batch in _batches(reviews):
                    self._write(dataset, sealed(dataset, batch), batch)
        return sum(map(len, leaving.values()))

    def keep(self, dataset: str, name: str, content: bytes) -> list[str]:
        """Takes in a segment that was sealed elsewhere, once; returns why lines of it were refused."""
        reviews, refused = [], []
        for number, line in enumerate(content.splitlines(), start=1):
            try:
                reviews.append(from_row(json.loads(line)))
            except (ValueError, RecursionError, FlagError) as fault:
                refused.append(f"{name}, line {number}: {fault}")
        with self._alone():
            if not self.segment(dataset, name).exists():
                self._write(dataset, name, reviews)
        return refused

    def segment(self, dataset: str, name: str) -> Path:
        """Where a segment of a dataset lies, or would lie."""
        return self.folder / dataset / name

    def segments(self, dataset: str) -> list[str]:
        """The names of the segments of a dataset that are here."""
        folder = self.folder / dataset
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jsonl"))

    def unsealed(self) -> list[Review]:
        """What was decided here and is in no segment yet."""
        made = list(self._read(self.path))
        sealed = {review.content_hash for review in self._in_segments()} if made else set()
        return [review for review in made if review.content_hash not in sealed]

    def last(self, flag: str) -> Review | None:
        """The decision that stands for a flag."""
        return self.standing().get(flag)

    def standing(self) -> dict[str, Review]:
        """The decision that stands for each flag."""
        return standing(self.events())

    def history(self, flag: str) -> list[Review]:
        """Every decision on a flag, also those that were overtaken, the first one first."""
        return sorted((review for review in self.events() if review.flag_id == flag), key=_order)

    def conflicts(self) -> dict[str, Conflict]:
        """The flags on which maintainers said different things, until somebody decides on them again."""
        return conflicts(self.events())

    def events(self) -> Iterator[Review]:
        """Every decision once: those made here in their order, then those from elsewhere."""
        seen: set[str] = set()
        for review in chain(self._read(self.path), self._in_segments()):
            if review.content_hash not in seen:
                seen.add(review.content_hash)
                yield review

    def forget(self, flag: str) -> int:
        """Deletes every decision on a flag, whose notes may quote it; returns how many."""
        with self._alone():
            gone = sum(review.flag_id == flag for review in self.events())
            for path in [self.path, *self.folder.rglob("*.jsonl")] if gone else ():
                reviews = list(self._read(path))
                kept = [review for review in reviews if review.flag_id != flag]
                if len(kept) < len(reviews):
                    write_jsonl(path, map(to_row, kept))
        return gone

    def _in_segments(self) -> Iterator[Review]:
        for path in sorted(self.folder.rglob("*.jsonl")):
            yield from self._read(path)

    def _read(self, path: Path) -> Iterator[Review]:
        if not path.exists():
            return
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    return  # a power cut took its end, and nobody was told that it was saved
                try:
                    yield from_row(json.loads(line))
                except (ValueError, FlagError) as fault:
                    raise BacktalkError(f"{path}, line {number}: {fault} Restore the file.") from fault

    def _write(self, dataset: str, name: str, reviews: Sequence[Review]) -> None:
        with writing(self.segment(dataset, name)) as file:
            file.write(content_of(reviews))

    def _append(self, reviews: Sequence[Review]) -> None:
        with open(self.path, "r+b" if self.path.exists() else "w+b") as file:
            file.seek(_end_of_whole_lines(file.read()))
            file.truncate()
            file.write(content_of(reviews))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_name(f"{self.path.name}.lock"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _completed(draft: Review) -> Review:
    """Numbered and hashed; the note is masked, the wording is not: a shop's own address may be the answer."""
    note, correction = mask(clean(draft.note)).text, clean(draft.correction)
    stamped = {"review_id": new_event_id(), "at": now(), "content_hash": ""}
    review = spell_out_moments(replace(draft, note=note, correction=correction, **stamped))
    return from_row(to_row(replace(review, content_hash=content_hash(review))))


def _overtaken(flag: str, last: Review | None) -> str:
    if last is None:
        return f"The decision on flag {flag[:8]} that you saw is not here. Look at it again and decide anew."
    return (
        f"Flag {flag[:8]} was decided while you looked at it: {last.state} by {last.by}, {last.at}. "
        "Look at it again and decide anew."
    )


def _batches(reviews: Sequence[Review]) -> Iterator[list[Review]]:
    """Sorted by id, in parts that fit into a segment."""
    batch: list[Review] = []
    size = 0
    for review in sorted(reviews, key=lambda review: review.review_id):
        length = len(content_of([review]))
        if batch and size + length > MOST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(review)
        size += length
    if batch:
        yield batch


def _end_of_whole_lines(content: bytes) -> int:
    return content.rfind(b"\n") + 1
