"""`serving.json`: what the chat of a state folder answers with, and why what is promoted is not it.

    serving = Serving.at_home(follows=".backtalk/promoted.json")
    serving.answers(model)              this model answers from now on
    serving.refuses(sentence, again)    what the pointer names was not taken over
    serving.stands()                    what passed by itself is over; what was refused for good still is

It is for maintainers, and for commands that wait for a promotion to arrive; a visitor is told by the page.
"""

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backtalk.files import write_json
from backtalk.home import home
from backtalk.models import Model

NAME = "serving.json"
FORMAT = "serving/1"


@dataclass
class Serving:
    """Writes the file, whole at any moment; the last of several chats with one state folder is in it."""

    follows: str
    path: Path
    _model: dict[str, Any] = field(default_factory=dict)
    _refused: dict[str, Any] = field(default_factory=dict)
    _standing: dict[str, Any] = field(default_factory=dict)  # what was refused until the pointer moves

    @staticmethod
    def at_home(follows: str) -> "Serving":
        return Serving(follows, home() / NAME)

    def answers(self, model: Model) -> None:
        self._model = {
            "name": model.name,
            "round": model.round,
            "file": "" if model.endpoint else str(model.path),
            "repo": model.repo,
            "revision": model.revision,
            "sha256": model.sha256,
            "since": _now(),
        }
        self._write({}, stands=True)

    def refuses(self, sentence: str, again: bool) -> None:
        """`again`: it is tried again by itself; else only when the pointer moves."""
        if (sentence, again) != (self._refused.get("why"), self._refused.get("again")):
            self._write({"why": sentence, "at": _now(), "again": again}, stands=not again)

    def stands(self) -> None:
        """The pointer says what it said when its model was taken over or refused for good."""
        if self._refused != self._standing:
            self._write(self._standing, stands=True)

    def is_as_wanted(self) -> None:
        """The pointer names the model that answers."""
        self._write({}, stands=True)

    def _write(self, refused: dict[str, Any], stands: bool) -> None:
        self._refused = refused
        if stands:
            self._standing = refused
        value = {"format": FORMAT, "follows": self.follows, "model": self._model, "refused": refused}
        try:
            write_json(self.path, value)
        except OSError as fault:
            print(f"{self.path} could not be written ({fault}).", file=sys.stderr, flush=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
