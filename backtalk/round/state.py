"""`round.json`: how far a round has come. Each act is written down when it is done, whole or not at all.

    rounds = Rounds()                    BACKTALK_HOME/rounds
    with rounds.alone(): ...             one round at a time
    state = rounds.unfinished() or rounds.begin(recipe, current, by, fresh)
    state.note("curate", words, seconds, said)

A round is finished when its card is there. Any other is gone on with, at the first act that is not done.
"""

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from backtalk.card import NAME as CARD
from backtalk.card import Card, read_card
from backtalk.errors import BacktalkError
from backtalk.files import read_json, write_json
from backtalk.home import home

NAME = "round.json"
FORMAT = "round/1"
LET_GO = 5.0  # seconds, at most, until the verb that a killed round was about to start has let go of its lock


class UnreadableError(BacktalkError):
    """The round.json in `folder` says nothing that could be gone on with."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"{folder / NAME} {why}. Begin the round anew with --fresh.")
        self.folder = folder


@dataclass
class State:
    """One round under way. `current` is the model that was served when it began: what is to be beaten."""

    number: int
    recipe: dict[str, Any]
    current: dict[str, Any]
    by: str = ""
    fresh: bool = False
    """Whether it was wanted whatever is unchanged: then it goes on as such."""
    acts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name, in the order in which they were done: words, seconds, said."""

    @property
    def folder(self) -> Path:
        return home() / "rounds" / str(self.number)

    def done(self, act: str) -> bool:
        return act in self.acts

    def said(self, act: str) -> dict[str, Any]:
        """What the act's verb said at its end; empty where the act was skipped."""
        return self.acts.get(act, {}).get("said", {})

    def note(
        self, act: str, said: dict[str, Any], words: list[str] | None = None, seconds: float = 0
    ) -> None:
        """Writes down that an act is done."""
        self.acts[act] = {"words": words or [], "seconds": round(seconds, 2), "said": said}
        self.save()

    def take_back(self, *acts: str) -> None:
        """Makes acts undone, so that they are done again."""
        self.acts = {name: act for name, act in self.acts.items() if name not in acts}
        self.save()

    def save(self) -> None:
        write_json(self.folder / NAME, {"format": FORMAT, **asdict(self)})


class Rounds:
    """The rounds of the state folder, by number."""

    def __init__(self) -> None:
        self._folder = home() / "rounds"
        self._folder.mkdir(exist_ok=True)

    def finished(self) -> list[tuple[int, Card]]:
        """Number and card of every finished round, the first one first."""
        return [(number, read_card(self._place(number))) for number in self._numbers() if self._ended(number)]

    def unfinished(self) -> State | None:
        """The round that was begun and not finished. Raises UnreadableError."""
        for number in self._numbers():
            if not self._ended(number) and (self._place(number) / NAME).is_file():
                return _read(self._place(number))
        return None

    def begin(self, recipe: dict[str, Any], current: dict[str, Any], by: str, fresh: bool = False) -> State:
        """A new round, numbered after all that were and after the one that made the current model."""
        number = max([*self._numbers(), int(current.get("round", 0))], default=0) + 1
        state = State(number, recipe, current, by, fresh)
        state.save()
        return state

    def forget(self, folder: Path) -> None:
        """Takes back a round that came to nothing; its number is free again."""
        shutil.rmtree(folder)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One round at a time; the lock goes with the process, however that ends."""
        with open(self._folder / ".lock", "w") as lock:
            until = time.monotonic() + LET_GO
            while not _locked(lock):
                if time.monotonic() > until:
                    raise BacktalkError(
                        f"Another round is running in {self._folder} just now. Let it end, or stop it first."
                    )
                time.sleep(LET_GO / 100)
            yield

    def _numbers(self) -> list[int]:
        names = [place.name for place in self._folder.iterdir() if place.is_dir()]
        return sorted(int(name) for name in names if name.isdecimal())

    def _place(self, number: int) -> Path:
        return self._folder / str(number)

    def _ended(self, number: int) -> bool:
        return (self._place(number) / CARD).is_file()


def _locked(file: IO[str]) -> bool:
    """Takes the lock, unless somebody has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(folder: Path) -> State:
    try:
        raw = read_json(folder / NAME)
        if not isinstance(raw, dict) or raw.pop("format", "") != FORMAT:
            raise UnreadableError(folder, f"is not of this version ({FORMAT} was wanted)")
        return State(**raw)
    except UnreadableError:
        raise
    except (BacktalkError, TypeError) as fault:
        raise UnreadableError(folder, "cannot be read") from fault
