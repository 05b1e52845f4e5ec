"""What `promoted.json` says, asked again and again by a chat that is running.

    pointer = pointer_of(ref)       None: the REF means one file until the chat is started again
    said = pointer.look()           what it says now; NetworkError where it is on the Hub and was not reached
    said.names(engine.model)        whether that is the model that answers already
    said.model()                    the model that it names, fetched, its sha256 checked

Here the file is read at each look: it is small, and its content tells more than its time. On the Hub the
commit of the main branch is asked for once a minute, and the file only where that has moved.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from backtalk import hub
from backtalk.errors import BacktalkError, ModelError, NetworkError
from backtalk.home import home
from backtalk.models import MINI, POINTER, POINTER_ON_HUB, Model, pointed_at, resolve

LOOK_SECONDS = 1.0  # between two looks at a file here
HUB_SECONDS = 60.0  # on the Hub, whose limit is some hundred questions in five minutes for all of an address
LONGEST_SECONDS = 900.0  # where the Hub does not answer, the pause doubles up to this
PATIENCE_SECONDS = 30.0  # short, since there is a next look


@dataclass(frozen=True)
class Said:
    """What a pointer says at one moment. Empty: there is none, and the REF says what that means."""

    content: bytes
    place: str
    ref: str
    repo: str = ""
    """The repository that the pointer lies in: it names files of its own and no others."""

    def names(self, model: Model) -> bool:
        """Whether `model` is what it names; False too where it cannot be read."""
        if not self.content:
            return self.ref == "" and model.path == MINI
        try:
            pointer = json.loads(self.content)
            if not pointer["file"]:
                return model.path == MINI
            name = pointer.get("name") or Path(pointer["file"]).stem
            known = (model.sha256, model.name, model.round)
            return known == (pointer["sha256"], name, pointer.get("round", 0))
        except (ValueError, TypeError, KeyError, AttributeError):
            return False

    def model(self) -> Model:
        """The model that it names. Raises ModelError or NetworkError."""
        if not self.content:
            return resolve("mini" if self.ref == "" else self.ref)
        try:
            return pointed_at(json.loads(self.content), self.place, self.repo)
        except (ValueError, TypeError, AttributeError, OSError) as fault:
            raise ModelError(f"{self.place} cannot be read ({fault}). Promote again.") from fault


class Pointer(Protocol):
    """A `promoted.json` somewhere."""

    @property
    def place(self) -> str: ...

    @property
    def seconds(self) -> float:
        """How long to wait until the next look."""
        ...

    def look(self) -> Said: ...


class PointerHere:
    """The pointer in the state folder."""

    seconds = LOOK_SECONDS

    def __init__(self, ref: str):
        self._ref, self._path = ref, home() / POINTER

    @property
    def place(self) -> str:
        return str(self._path)

    def look(self) -> Said:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as fault:
            raise BacktalkError(f"{self.place} cannot be read ({fault}). Check its permissions.") from fault
        return Said(content, self.place, self._ref)


class PointerOnHub:
    """The pointer on the main branch of a model repository."""

    def __init__(self, ref: str, repo: str):
        self._ref, self._repo = ref, repo
        self._commit = ""
        self._said: Said | None = None
        self._misses = 0

    @property
    def place(self) -> str:
        return self._ref

    @property
    def seconds(self) -> float:
        return min(HUB_SECONDS * 2.0**self._misses, LONGEST_SECONDS)

    def look(self) -> Said:
        """Raises NetworkError; the next look is then later than usual."""
        self._misses += 1
        said = self._read()
        self._misses = 0
        return said

    def _read(self) -> Said:
        head = hub.head(self._repo, PATIENCE_SECONDS, kind="model")
        if head is None:
            raise NetworkError(f"The Hub has no model repository {self._repo} that the token may see.")
        if self._said is None or head.commit != self._commit:
            content = hub.read(self._repo, POINTER, head.commit, PATIENCE_SECONDS, kind="model")
            self._said, self._commit = Said(content, self._ref, self._ref, self._repo), head.commit
        return self._said


def pointer_of(ref: str) -> Pointer | None:
    """The pointer that a REF follows: the default, `promoted`, or the one of a repository."""
    if ref in ("", "promoted"):
        return PointerHere(ref)
    on_hub: Any = POINTER_ON_HUB.fullmatch(ref)
    return PointerOnHub(ref, on_hub["repo"]) if on_hub and not on_hub["revision"] else None
