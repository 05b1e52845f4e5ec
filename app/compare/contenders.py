"""Who can be compared: the model that answers, those of rounds and exports, the base, and what is named.

    for contender in contenders(desk.engine.model):
        contender.model()       its file, its sha256 checked

`BACKTALK_COMPARE` names further models by their REFs, separated by spaces: an OpenAI-compatible endpoint, a
file, an alias. Each file is offered once, the newest round first.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.errors import BacktalkError, ModelError, WordsError
from backtalk.files import read_json
from backtalk.gguf_check import head
from backtalk.home import home
from backtalk.models import MINI, POINTER, Model, name_of, pointed_at, resolve

VARIABLE = "BACKTALK_COMPARE"
CURRENT, ROUND, EXPORT, BASE, OTHER = "current", "round", "export", "base", "other"
MOST_EXPORTS = 12  # the newest
Json = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """A model that a visitor can choose; `key`: what the page calls it, `sha256`: empty where unknown."""

    key: str
    kind: str
    name: str
    round: int
    sha256: str
    open: Callable[[], Model]

    def model(self) -> Model:
        """The model, fetched if need be. Raises ModelError, NetworkError or WordsError."""
        found = replace(self.open(), name=self.name, round=self.round)
        if self.sha256 and found.sha256 != self.sha256:
            raise ModelError(
                f"{found.path} has sha256 {found.sha256[:8]} and its card says {self.sha256[:8]}. "
                "Export it again, or compare others."
            )
        return found

    def to_json(self) -> Json:
        """What the page shows of it."""
        return {"key": self.key, "kind": self.kind, "name": self.name, "round": self.round}


def contenders(current: Model) -> list[Contender]:
    """All that can be compared, the model that answers first."""
    found: dict[str, Contender] = {}
    for one in (_current(current), *_base(current), *_exports(), *_named()):
        known = {other.sha256 for other in found.values()}
        if one.key not in found and (not one.sha256 or one.sha256 not in known):
            found[one.key] = one
    return list(found.values())


def chosen(keys: Any, among: list[Contender]) -> tuple[Contender, Contender]:
    """The two that the page names. Raises WordsError unless they are two different ones of the list."""
    by_key = {one.key: one for one in among}
    if not isinstance(keys, list) or len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        raise WordsError("A comparison is between two models. Choose two of the list.").called("out_of_step")
    if keys[0] == keys[1]:
        raise WordsError("These are one and the same model. Choose two different ones.").called("same_model")
    missing = [key for key in keys if key not in by_key]
    if missing:
        name = missing[0][:60]
        raise WordsError(f"The model '{name}' is not in the list any more. Choose another one.").called(
            "gone", model=name
        )
    return by_key[keys[0]], by_key[keys[1]]


def _current(model: Model) -> Contender:
    return Contender(CURRENT, CURRENT, model.name, model.round, model.sha256, lambda: model)


def _exports() -> Iterator[Contender]:
    """The files of finished exports, the newest first; those of a finished round bear its number."""
    rounds = {str(card["metrics"].get("sha256", "")): number for number, card in _cards_of_rounds()}
    cards = sorted(home().glob(f"exports/*/{CARD}"), key=lambda path: -path.stat().st_mtime)
    for path in cards[:MOST_EXPORTS]:
        for output in _read(path).get("outputs", ()):
            file = path.parent / str(output.get("path", ""))
            if file.suffix == ".gguf" and file.is_file():
                sha256 = str(output.get("sha256", ""))
                number = rounds.get(sha256) or _round_of(file, file.stat().st_mtime_ns)
                yield Contender(
                    f"{path.parent.name}/{file.name}",
                    ROUND if number else EXPORT,
                    file.stem,
                    number,
                    sha256,
                    _opener(str(file)),
                )


def _cards_of_rounds() -> Iterator[tuple[int, Json]]:
    for path in home().glob(f"rounds/*/{CARD}"):
        card = _read(path)
        if path.parent.name.isdecimal() and isinstance(card.get("metrics"), dict):
            yield int(path.parent.name), card


def _base(current: Model) -> Iterator[Contender]:
    """What was served before any round: the file that the pointer remembers, else the bundled one."""
    if not current.round:
        return
    for before in reversed(_read(home() / POINTER).get("earlier", [])):
        if not before.get("round") and before.get("file"):
            name, sha256 = before.get("name") or Path(before["file"]).stem, before.get("sha256", "")
            yield Contender(BASE, BASE, name, 0, sha256, _pointed(before))
            return
    if MINI.is_file():
        yield Contender(BASE, BASE, "mini", 0, _bundled_sha256(), lambda: resolve("mini"))


def _named() -> Iterator[Contender]:
    for number, ref in enumerate(os.environ.get(VARIABLE, "").split(), start=1):
        yield Contender(f"{OTHER}-{number}", OTHER, name_of(ref), 0, "", _opener(ref))


def _opener(ref: str) -> Callable[[], Model]:
    return lambda: resolve(ref)


def _pointed(pointer: Json) -> Callable[[], Model]:
    return lambda: pointed_at(pointer, POINTER)


def _read(path: Path) -> Json:
    """A card or pointer; nothing where it is missing or broken."""
    try:
        value = read_json(path)
    except (BacktalkError, OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@cache
def _round_of(file: Path, _changed: int) -> int:
    """By the file's own head; read once for each state of the file."""
    try:
        number = head(file).get("backtalk.round", 0)
    except BacktalkError:
        return 0
    return number if isinstance(number, int) else 0


@cache
def _bundled_sha256() -> str:
    return resolve("mini").sha256
