"""`state.json`: what an experiment is doing, for `status`, the page and anybody else who looks.

Written whole after every slice. It is told, never read back by the experiment itself: what counts is in the
checkpoints, in metrics.jsonl and in history.jsonl.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from backtalk.errors import BacktalkError, WordsError, nearest
from backtalk.files import read_json, write_json
from backtalk.home import home

NAME, LOCK = "state.json", ".lock"

Standing = Literal["waiting", "running", "stopped", "stopped early", "finished", "failed", "baseline"]


@dataclass(frozen=True)
class Line:
    """One configuration as a table shows it."""

    name: str
    changes: Mapping[str, Any]
    told: str
    standing: Standing
    step: int
    steps: int
    bits_per_byte: float | None = None
    loss: float | None = None
    seconds: float = 0.0
    parent: str = ""
    why: str = ""


@dataclass(frozen=True)
class State:
    """The whole experiment. `phase`: preparing, training, testing or finished."""

    id: str
    recipe: str
    phase: str
    lines: tuple[Line, ...] = ()
    started_at: str = ""
    first_comparison: float | None = None
    """Seconds from the start of the process until all configurations had been compared once."""
    more: Mapping[str, Any] = field(default_factory=dict)


def write_state(folder: Path, state: State) -> None:
    write_json(folder / NAME, asdict(state))


def read_state(folder: Path) -> State:
    """Raises BacktalkError where the experiment has not begun."""
    path = folder / NAME
    if not path.is_file():
        raise BacktalkError(f"{folder.name} has no {NAME} yet; it is still being prepared.")
    found = read_json(path)
    return State(**{**found, "lines": tuple(Line(**line) for line in found["lines"])})


def find_experiment(name: str) -> Path:
    """The folder of an experiment: by its id, by the beginning of it, or as a path. Raises WordsError."""
    root = home() / "experiments"
    for folder in (Path(name), root / name):
        if (folder / "recipe.json").is_file():
            return folder
    known = sorted(path.parent.name for path in root.glob("*/recipe.json"))
    begun = [one for one in known if one.startswith(name)]
    if len(begun) == 1:
        return root / begun[0]
    there = f" There are {', '.join(known)}." if known else ""
    raise WordsError(f"There is no experiment '{name}' in {home()}.{nearest(name, known)}{there}")


def is_running(folder: Path) -> bool:
    """Whether a process works on the experiment now."""
    try:
        with open(folder / LOCK, "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Two processes on one experiment would overwrite each other's checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise BacktalkError(
                f"Another process is running {folder.name} now. Look at it with backtalk experiment "
                "status, or stop that process first: nothing is lost."
            ) from fault
        yield
