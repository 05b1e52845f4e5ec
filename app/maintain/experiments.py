"""Experiments as the page shows them: where each stands, its curves, and what a maintainer asks of it.

    look("samsum-0123abcd")                                table, points of the curves, a sentence
    ask(maintainer, Asked("stop", "samsum-0123abcd", "c3"))      what `backtalk experiment stop` said

Read by app/maintain/watching.py from the files that the experiment writes; asked by the verb as a process.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.maintain import watching
from app.maintain.maintainer import Maintainer
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import read_json
from backtalk.home import home

Json = dict[str, Any]

ACTIONS = ("stop", "resume", "clone")
CHANGE = re.compile(r"[A-Za-z_][\w.]*=\S+")
ASK_SECONDS = 60


@dataclass(frozen=True)
class Asked:
    """One thing that is asked of one configuration; `changes` and `warm` are a clone's."""

    action: str
    experiment: str
    configuration: str
    changes: str = ""
    warm: bool = False


def look(name: str) -> Json:
    """The experiment of that name, or the one that was written to last; empty where there is none."""
    known = watching.names()
    chosen = name if name in known else next(iter(known), "")
    if not chosen:
        return {"names": [], "name": "", "told": "", "rows": [], "curves": {}}
    state = read_json(home() / "experiments" / chosen / "state.json")
    rows = sorted(state["lines"], key=lambda row: (row["bits_per_byte"] is None, row["bits_per_byte"]))
    shown = ("name", "standing", "step", "steps", "bits_per_byte", "loss", "seconds", "told", "why")
    return {
        "names": known,
        "name": chosen,
        "phase": state["phase"],
        "told": str(state["more"].get("conclusion", "")),
        "first": state["first_comparison"],
        "rows": [{key: row[key] for key in shown} for row in rows],
        "curves": watching.curves(chosen),
    }


def ask(maintainer: Maintainer, asked: Asked) -> str:
    """Asks; returns what the verb said. Raises BacktalkError where it refused."""
    if asked.action not in ACTIONS:
        raise WordsError(f"There is no such thing to ask as '{asked.action[:40]}'.")
    if asked.experiment not in watching.names():
        raise WordsError("That experiment is not here any more. Choose another one.")
    if asked.configuration not in watching.look(asked.experiment).configurations:
        raise WordsError("The experiment has no such configuration. Choose one of the table.")
    words = [asked.action, asked.experiment, asked.configuration, f"--by={maintainer.name}", *_changes(asked)]
    said = maintainer.run(["experiment", *words], ASK_SECONDS)
    if not said.get("id"):
        raise BacktalkError("The request was not left with the experiment. Try it in a terminal.")
    return str(said["id"])


def _changes(asked: Asked) -> Iterator[str]:
    if asked.action != "clone":
        return
    changes = asked.changes.split()
    if not changes or not all(map(CHANGE.fullmatch, changes)):
        raise WordsError("Say what the clone changes, such as optimiser.rate=1e-4.")
    yield from (f"--set={change}" for change in changes)
    if asked.warm:
        yield "--warm"
