"""The reasons of a flag, `tx/1`, from taxonomy.yaml: what the panel offers and what training may make of it.

    taxonomy().reason("factual_error").route.weight    0.5

Ids are frozen. A reason that goes out of use is archived: the panel no longer offers it, old flags keep their
meaning.
"""

from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from backtalk.errors import WordsError, nearest

VERSION = "tx/1"
FILE = Path(__file__).with_name("taxonomy.yaml")

DIRECTIONS = ("good", "bad", "system", "safety", "meta")
FITTING = {  # the directions that a verdict may carry, in the order of the form: any other contradicts it
    "good": ("good", "system", "meta"),
    "bad": ("bad", "system", "safety", "meta"),
    "mixed": ("bad", "good", "system", "safety", "meta"),
}
ROUTE_WORDS = {
    "kto": ("", "good", "bad"),
    "correction": ("sft", "dpo", "eval"),
    "alone": ("", "sft_candidate", "needs_reference", "backlog"),
    "check": (
        *("", "assertion", "reference", "executable", "pattern", "language"),
        *("over_refusal", "must_keep", "safety"),
    ),
    "only_if": ("", "finish_stop", "reproduced", "turn_was_sent"),
    "balance": ("capped_share", "length_matched"),
    "aside": ("", "system", "quarantine", "block", "review", "excluded"),
}


@dataclass(frozen=True, slots=True)
class Route:
    """What a reason may become in training; the words are explained in taxonomy.yaml."""

    kto: str = ""
    weight: float = 1.0
    correction: tuple[str, ...] = ()
    alone: str = ""
    check: str = ""
    only_if: str = ""
    balance: tuple[str, ...] = ()
    aside: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a flag. `hazards`: the kind of harm that it names, or those that it lets one choose."""

    id: str
    direction: str
    label: str
    hint: str
    route: Route
    hazards: tuple[str, ...] = ()
    needs_comment: bool = False
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """One choice between two answers shown side by side, and what it becomes."""

    id: str
    label: str
    route: tuple[str, ...]


@dataclass(frozen=True)
class Taxonomy:
    """All reasons in the order of the form, the hazards by id, and the choices of a comparison."""

    version: str
    reasons: tuple[Reason, ...]
    hazards: dict[str, str]
    comparisons: tuple[Comparison, ...]
    by_id: dict[str, Reason] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {reason.id: reason for reason in self.reasons})

    def reason(self, name: str) -> Reason:
        """The reason with this id, archived ones too; an unknown id names the nearest."""
        try:
            return self.by_id[name]
        except KeyError:
            raise WordsError(
                f"There is no reason '{name}' in {self.version}.{nearest(name, self.by_id)}"
            ) from None

    def offered(self, verdict: str) -> tuple[Reason, ...]:
        """What the panel offers beside this verdict, its own direction first."""
        return tuple(
            reason
            for direction in FITTING[verdict]
            for reason in self.reasons
            if reason.direction == direction and not reason.archived
        )


@cache
def taxonomy() -> Taxonomy:
    """The taxonomy of this version, read once."""
    return load(FILE)


def load(path: Path) -> Taxonomy:
    """A taxonomy from its file; a word that is not known there is an error, not a silent default."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    hazards = dict(content["hazards"])
    comparisons = tuple(
        Comparison(name, entry["label"], tuple(entry["route"]))
        for name, entry in content["comparisons"].items()
    )
    reasons = tuple(_reason(entry, hazards) for entry in content["reasons"])
    return Taxonomy(content["version"], reasons, hazards, comparisons)


def _reason(entry: dict[str, Any], hazards: dict[str, str]) -> Reason:
    where = f"reason '{entry.get('id', '')}'"
    _known(entry, [part.name for part in fields(Reason)], where)
    _known([entry["direction"]], DIRECTIONS, where)
    _known(entry.get("hazards", ()), hazards, where)
    route = _route(entry["route"], where)
    return Reason(**{**entry, "route": route, "hazards": tuple(entry.get("hazards", ()))})


def _route(entry: dict[str, Any], where: str) -> Route:
    _known(entry, [part.name for part in fields(Route)], where)
    for name, words in ROUTE_WORDS.items():
        given = entry.get(name, ())
        _known([given] if isinstance(given, str) else given, words, f"{where}, route, {name}")
    tuples = {name: tuple(given) for name, given in entry.items() if isinstance(given, list)}
    return Route(**{**entry, **tuples})


def _known(words: Any, known: Any, where: str) -> None:
    for word in words:
        if word not in known:
            hint = nearest(str(word), known)
            raise WordsError(f"taxonomy.yaml, {where}: '{word}' is not known there.{hint}")
