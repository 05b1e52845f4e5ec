"""`promoted.json`: which model is served, and the five that were before it, in one small file.

    move_here(change)           under BACKTALK_HOME, by one rename
    move_on_hub(repo, change)   on a model repository's main branch, by one commit on top of the one it read

History and pointer are one file, so whoever reads it, at whatever moment, finds a whole one: the old or the
new.
"""

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from backtalk import hub
from backtalk.errors import BacktalkError, NetworkError
from backtalk.files import read_json, write_json
from backtalk.home import home
from backtalk.models import POINTER

FORMAT = "promoted/1"
KEPT = 5  # earlier promotions that a rollback can go back to
TRIES = 8  # commits of others to the same repository that may come in between
PAUSE_SECONDS = 1.0  # times the number of the try: what the Hub says of its head may lag behind


@dataclass(frozen=True)
class Promotion:
    """One model that was made the served one. Without a file it is the bundled model."""

    name: str = "mini"
    file: str = ""
    repo: str = ""
    revision: str = ""
    sha256: str = ""
    bytes: int = 0
    quant: str = ""
    round: int = 0
    license: str = ""
    verdict: Mapping[str, Any] = field(default_factory=dict)
    overruled: tuple[str, ...] = ()  # what spoke against it and was overruled with --force
    who: str = ""
    why: str = ""
    when: str = ""

    @property
    def sentence(self) -> str:
        """What it is, for people."""
        if not self.file:
            return "the bundled model, mini"
        return f"{self.name} (sha256 {self.sha256[:8]}, promoted {self.when or 'at an unknown time'})"


@dataclass(frozen=True)
class Pointer:
    """What is served, what was before (the latest first), and, after a rollback, what was left and why."""

    served: Promotion = field(default_factory=Promotion)
    earlier: tuple[Promotion, ...] = ()
    rolled_back: Mapping[str, Any] = field(default_factory=dict)

    def promoted(self, fresh: Promotion) -> "Pointer":
        """The pointer after `fresh` is promoted. What is served does not become its own predecessor."""
        if fresh.sha256 == self.served.sha256 and fresh.repo == self.served.repo:
            return self if fresh.file == self.served.file else Pointer(fresh, self.earlier)
        return Pointer(fresh, (self.served, *self.earlier)[:KEPT])

    def as_json(self) -> dict[str, Any]:
        more = {"rolled_back": dict(self.rolled_back)} if self.rolled_back else {}
        return {
            "format": FORMAT,
            **_entry(self.served),
            **more,
            "earlier": [_entry(one) for one in self.earlier],
        }


Change = Callable[[Pointer, str], Pointer]
"""Makes the next pointer from the present one; the text is the commit that was read, if any."""


def read_here() -> Pointer:
    """The pointer of the state folder; where there is none, the bundled model is served."""
    path = home() / POINTER
    return _pointer(read_json(path), str(path)) if path.exists() else Pointer()


def move_here(change: Change) -> tuple[Pointer, Pointer]:
    """The pointer before and after; nobody else on this machine moves it meanwhile."""
    with _alone():
        before = read_here()
        after = change(before, "")
        if after != before:
            write_json(home() / POINTER, after.as_json())
    return before, after


def move_on_hub(repo: str, change: Change) -> tuple[Pointer, Pointer]:
    """The pointer before and after. Raises BacktalkError where somebody else moved it in between."""
    known: Pointer | None = None
    wanted: Pointer | None = None
    for number in range(TRIES):
        head = hub.head(repo, kind="model")
        if head is None:
            raise NetworkError(
                f"The Hub has no model repository {repo} that the token in HF_TOKEN may see. "
                f"Publish first: backtalk publish EXPORT --repo {repo}"
            )
        before = _read_on_hub(repo, head.commit)
        if known is not None and before != known:
            if before == wanted:  # the commit was made and its answer was lost
                return known, before
            raise BacktalkError(
                f"Meanwhile {before.served.who or 'somebody'} moved the pointer of {repo} to "
                f"{before.served.sentence}. Nothing was changed; look at it, then run this again."
            )
        known, wanted = before, change(before, head.commit)
        if wanted == before:
            return before, before
        content = (json.dumps(wanted.as_json(), ensure_ascii=False, indent=2) + "\n").encode()
        if hub.commit(repo, {POINTER: content}, _message(wanted), kind="model", parent=head.commit):
            return before, wanted
        time.sleep(PAUSE_SECONDS * (number + 1))
    raise NetworkError(f"Others write to {repo} all the time; the pointer was not moved. Run this again.")


def _read_on_hub(repo: str, commit: str) -> Pointer:
    if POINTER not in hub.files(repo, commit, kind="model"):
        return Pointer()
    place = f"hf://{repo}/{POINTER}"
    try:
        return _pointer(json.loads(hub.read(repo, POINTER, commit, kind="model")), place)
    except ValueError as fault:
        raise BacktalkError(f"{place} is not valid JSON ({fault}). Repair or delete it there.") from fault


def _pointer(raw: Any, place: str) -> Pointer:
    if not isinstance(raw, dict) or raw.get("format", FORMAT) != FORMAT:
        raise BacktalkError(
            f"{place} is not a pointer of this version ({FORMAT} was wanted). Restore it or delete it."
        )
    try:
        earlier = tuple(_promotion(one) for one in raw.get("earlier", ()))
        return Pointer(_promotion(raw), earlier, raw.get("rolled_back", {}))
    except (TypeError, AttributeError) as fault:
        raise BacktalkError(f"{place} cannot be read ({fault}). Restore it or delete it.") from fault


def _promotion(raw: Mapping[str, Any]) -> Promotion:
    known = {one.name: raw[one.name] for one in fields(Promotion) if one.name in raw}
    made = Promotion(**known)
    return replace(made, overruled=tuple(made.overruled))


def _entry(promotion: Promotion) -> dict[str, Any]:
    return {**asdict(promotion), "overruled": list(promotion.overruled)}


def _message(pointer: Pointer) -> str:
    verb = "Roll back to" if pointer.rolled_back else "Promote"
    return f"{verb} {pointer.served.name} {pointer.served.sha256[:8]}".strip()


@contextmanager
def _alone() -> Iterator[None]:
    """One mover at a time; the system lets go of the lock when a process ends, however it ends."""
    with open(_lock(), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lock() -> Path:
    return home() / f".{POINTER}.lock"
