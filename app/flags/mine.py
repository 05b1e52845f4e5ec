"""A visitor's own flags: what they said, where each one is, what became of it.

    mine = Mine(flagging)
    mine.page(visitor, start=0, served=3)       {"flags": [...], "count": 12}
    mine.withdraw(visitor, flag_id)

Promise: a flag is told, changed and taken back for its own contributor alone. Whoever names another one's
hears what whoever names none hears.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from app.flags.fixes import Fixes
from app.flags.flagging import Flagging, for_panel
from backtalk.card import NAME as CARD
from backtalk.errors import BacktalkError, FlagError
from backtalk.files import canonical_json, read_json, read_jsonl
from backtalk.home import home, secret
from feedback.schema import FlagEvent, flag_id, pseudonym, to_row
from feedback.store.arrivals import arrivals, newest
from feedback.store.decisions import Decisions, Review, matter_of
from feedback.store.outbox import Outbox

PAGE = 50
MOST_ASKED_AFTER = 500  # ids of one request
FRESH_SECONDS = 5.0  # decisions are read anew at most so often, however many ask
UNKNOWN = "This feedback is not known here, or it was taken back. Reload the page."

Json = dict[str, Any]


class Mine:
    """Finds the flags of whoever asks."""

    def __init__(self, flagging: Flagging, fixes: Fixes | None = None):
        self._flagging = flagging
        self._fixes = fixes or Fixes()
        self._taught = Taught()
        self._given: Given | None = None
        self._reviews = Fresh(lambda: Decisions.at_home().standing())

    def page(self, visitor: str, start: int, served: int) -> Json:
        """Standing flags from the newest on, and how many there are; `served`: the round that answers now."""
        events = self._events(visitor)
        shown = events[start : start + PAGE]
        names = [event.flag_id for event in shown]
        fixes, taught = self._fixes.of(names, served), self._taught.of(names, self._rounds(served))
        reviews = self._reviews.value()
        return {
            "count": len(events),
            "flags": [
                {
                    **_told(event),
                    "receipt": self._flagging.receipt(event.flag_id),
                    "review": _state(event, reviews),
                    "taught": taught.get(event.flag_id, 0),
                    "fix": fixes.get(event.flag_id),
                }
                for event in shown
            ],
        }

    def missing(self, visitor: str, message_ids: Sequence[str]) -> list[str]:
        """Those of these messages on which this disk knows no flag of the visitor, nor a withdrawn one."""
        contributor, outbox = pseudonym(secret(), visitor), self._flagging.outbox
        asked = message_ids[:MOST_ASKED_AFTER]
        known = {*self._known().of(contributor)}
        gone = (name for name in asked if flag_id(contributor, name) not in known)
        return [name for name in gone if not outbox.history(flag_id(contributor, name))]

    def amend(self, visitor: str, name: Any, choice: Any) -> Json:
        """Changes what the visitor said; returns what is saved and the flag as it stands."""
        event = self._own(visitor, name)
        if not isinstance(choice, dict) or not choice.get("verdict"):
            raise FlagError("A change needs a verdict. To take feedback back, use the button for it.").called(
                "out_of_step"
            )
        if event.extras.comparison.choice:
            raise FlagError(
                "A vote between two answers is not changed here. Take it back, or compare again."
            ).called("vote_stays")
        return {**self._flagging.amend(event, choice), "flag": _told(self._own(visitor, name))}

    def preview(self, visitor: str, name: Any, choice: Any) -> Json:
        """What `amend` would store."""
        return self._flagging.preview_amendment(self._own(visitor, name), choice)

    def withdraw(self, visitor: str, name: Any) -> Json:
        """Takes a flag back; of a vote between two answers, both. Says which flags are gone."""
        event = self._own(visitor, name)
        done, gone = self._flagging.withdraw(event), [event.flag_id]
        if beside := self._beside(event):
            self._flagging.withdraw(beside)
            gone.append(beside.flag_id)
        return {**done, "gone": gone}

    def lines(self, visitor: str) -> Iterator[str]:
        """Every event of the visitor's flags as one JSON line, as it is stored, the oldest flag first."""
        contributor, outbox = pseudonym(secret(), visitor), self._flagging.outbox
        for name in reversed(self._known().of(contributor)):
            for event in outbox.history(name):
                yield canonical_json(to_row(event)).decode()

    def _events(self, visitor: str) -> list[FlagEvent]:
        """The visitor's standing flags, newest first; of a vote between two answers, the one on A."""
        contributor, outbox = pseudonym(secret(), visitor), self._flagging.outbox
        found = (outbox.current(name) for name in self._known().of(contributor))
        return [
            event
            for event in found
            if event and event.contributor.pseudonym == contributor and not self._is_other_side(event)
        ]

    def _is_other_side(self, event: FlagEvent) -> bool:
        return event.extras.comparison.position == "b" and self._beside(event) is not None

    def _beside(self, event: FlagEvent) -> FlagEvent | None:
        """The same contributor's flag on the answer that stood beside this one."""
        other = event.extras.comparison.other_message_id
        return self._flagging.outbox.current(flag_id(event.contributor.pseudonym, other)) if other else None

    def _own(self, visitor: str, name: Any) -> FlagEvent:
        event = self._flagging.outbox.current(name) if isinstance(name, str) else None
        if event is None or event.contributor.pseudonym != pseudonym(secret(), visitor):
            raise FlagError(UNKNOWN).called("unknown_flag")
        return event

    def _known(self) -> "Given":
        if self._given is None:
            self._given = Given(self._flagging.outbox)
        return self._given

    def _rounds(self, served: int) -> list[int]:
        return [number for number, _ in self._fixes.by_round(served)]


class Given:
    """Which flags each contributor gave; each event is read once, when somebody next asks."""

    def __init__(self, outbox: Outbox):
        self._outbox = outbox
        self._seen = 0
        self._flags: dict[str, dict[str, int]] = {}  # contributor -> flag -> place of its last event
        self._lock = Lock()

    def of(self, contributor: str) -> list[str]:
        """The ids of the flags, also withdrawn ones, the one that was changed last first."""
        with self._lock:
            if newest(self._outbox) < self._seen:  # the file was moved aside and made anew
                self._seen, self._flags = 0, {}
            for one in arrivals(self._outbox, self._seen):
                self._seen = one.seq
                self._flags.setdefault(one.contributor, {})[one.flag_id] = one.seq
            known = self._flags.get(contributor, {})
            return sorted(known, key=lambda name: -known[name])


class Taught:
    """Which rounds learned from a flag: their curated sets say so, each read once."""

    def __init__(self) -> None:
        self._used: dict[Path, frozenset[str]] = {}
        self._lock = Lock()

    def of(self, flags: Sequence[str], rounds: Sequence[int]) -> dict[str, int]:
        """By flag the first of these rounds that learned from it; the others are left out."""
        found: dict[str, int] = {}
        for number in sorted(rounds):
            used = self._read(number)
            found |= {name: number for name in flags if name in used and name not in found}
        return found

    def _read(self, number: int) -> frozenset[str]:
        try:
            curated = str(read_json(home() / "rounds" / str(number) / CARD)["metrics"]["curated"])
            path = home() / "curated" / Path(curated).name / "manifest.jsonl"
            with self._lock:
                if path not in self._used:
                    lines = read_jsonl(path)
                    self._used[path] = frozenset(line["flag_id"] for line in lines if line["used"])
                return self._used[path]
        except (BacktalkError, OSError, KeyError, TypeError, ValueError):
            return frozenset()  # no such round here, or not finished: it tells nothing


class Fresh:
    """A value that takes long to read and may be some seconds old."""

    def __init__(self, read: Callable[[], dict[str, Review]]):
        self._read, self._known, self._read_at = read, dict[str, Review](), float("-inf")
        self._lock = Lock()

    def value(self) -> dict[str, Review]:
        with self._lock:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._known, self._read_at = self._read(), time.monotonic()
            return self._known


def _state(event: FlagEvent, reviews: dict[str, Review]) -> str:
    """What a maintainer decided on what the flag says now; empty where nobody did."""
    review = reviews.get(event.flag_id)
    return review.state if review and review.matter == matter_of(event) and review.state != "new" else ""


def _told(event: FlagEvent) -> Json:
    """The flag as the page shows it."""
    beside = event.extras.comparison
    return {
        **for_panel(event),
        "message": event.message_id,
        "conversation": event.conversation_id,
        "at": event.created_at,
        "question": event.shown.messages[-1].content if event.shown.messages else "",
        "answer": event.answer.text,
        "model": {"name": event.model.name, "round": event.model.round},
        "choice": beside.choice,
        "other_model": beside.other_model,
    }
