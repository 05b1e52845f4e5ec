"""Starts a round from the page and stops it: here as a process that outlives the page, or as a Hub Job.

    start(maintainer, Wish("mini_round"))      rounds/started.json, rounds/started.log
    stop()                                     as Ctrl-C would; the same start goes on where it was

One round at a time, whoever begins it: what a terminal runs is seen here too, and is stopped there.
"""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from app.maintain.maintainer import Maintainer, command
from app.maintain.place import HERE, JOB, place_of, recipe_named
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import read_json, write_json
from backtalk.home import home

NAME, LOG, LOCK = "started.json", "started.log", ".lock"
FORMAT = "started/1"
INCLUDES = ("", "accepted", "agreed", "all")
JOB_SECONDS = 600  # to send the checkout and start the Job
PROCESSES = Path("/proc")
STARTED_AT = 19  # of what follows the name in /proc/PID/stat: when the process began

Json = dict[str, Any]

_alone = Lock()
_ours: dict[Path, "subprocess.Popen[bytes]"] = {}  # by state folder: the round that this process started


@dataclass(frozen=True)
class Wish:
    """What a maintainer wants run. `include` empty: as the recipe has it; `flavor`, `timeout` are a Job's."""

    recipe: str
    include: str = ""
    fresh: bool = False
    flavor: str = ""
    timeout: str = ""


@dataclass(frozen=True)
class Started:
    """The round that was started last. `code` is how it ended, as far as this page saw it end."""

    recipe: str
    place: str
    by: str
    at: str
    pid: int = 0
    began: str = ""
    address: str = ""
    code: int | None = None

    @staticmethod
    def read(folder: Path) -> "Started | None":
        """None where no round was started from the page, or nothing can be read of it."""
        with suppress(BacktalkError, OSError, TypeError):
            told = read_json(folder / NAME)
            return Started(**{one.name: told[one.name] for one in fields(Started) if one.name in told})
        return None

    def write(self, folder: Path) -> None:
        write_json(folder / NAME, {"format": FORMAT, **asdict(self)})

    def as_json(self) -> Json:
        return {name: getattr(self, name) for name in ("recipe", "place", "by", "at", "address", "code")}


def start(maintainer: Maintainer, wish: Wish) -> Started:
    """Starts it where it can be. Raises BacktalkError where one is running, or where nothing can run it."""
    if wish.include not in INCLUDES:
        raise WordsError(f"There is no choice '{wish.include}'. There are {', '.join(INCLUDES[1:])}.")
    recipe, place = recipe_named(wish.recipe), place_of(maintainer)
    if place.where == HERE:
        return _start_here(maintainer, wish, recipe)
    if place.where == JOB:
        return _start_job(maintainer, wish, recipe, place.flavors)
    raise BacktalkError(place.why)


def stop() -> None:
    """Interrupts the round that was started from the page. What is done of it stays done."""
    with _alone:
        last = Started.read(home() / "rounds")
        if not is_running():
            raise BacktalkError("No round is running here just now.")
        if last is None or not _is_it(last):
            raise BacktalkError("This round was not started from the page. Stop it where it was started.")
        os.kill(last.pid, signal.SIGINT)


def is_running() -> bool:
    """Whether a round runs on this machine, whoever started it."""
    ours = _ours.get(home())
    if ours and ours.poll() is None:
        return True  # it may be about to take the lock, and must find it free
    try:
        with open(home() / "rounds" / LOCK, "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _start_here(maintainer: Maintainer, wish: Wish, recipe: Path) -> Started:
    folder = home() / "rounds"
    folder.mkdir(exist_ok=True)
    with _alone:
        if is_running():
            raise BacktalkError("A round is running here just now. Watch it below, or stop it first.")
        with open(folder / LOG, "wb") as log:
            process = subprocess.Popen(
                command("round", str(recipe), *_knobs(wish), f"--by={maintainer.name}"),
                env=maintainer.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # it goes on when the page's server ends
            )
        _ours[home()] = process
        made = Started(wish.recipe, HERE, maintainer.name, _now(), process.pid, _began(process.pid))
        made.write(folder)
    Thread(target=_see_it_end, args=(process, made, folder), daemon=True).start()
    return made


def _start_job(maintainer: Maintainer, wish: Wish, recipe: Path, flavors: tuple[str, ...]) -> Started:
    if wish.flavor not in flavors:
        raise WordsError(f"There is no hardware '{wish.flavor}'. There is {', '.join(flavors)}.")
    words = ["deploy", "job", str(recipe), f"--flavor={wish.flavor}", f"--timeout={wish.timeout or '2h'}"]
    said = maintainer.run(words, JOB_SECONDS)
    folder = home() / "rounds"
    folder.mkdir(exist_ok=True)
    made = Started(wish.recipe, JOB, maintainer.name, _now(), address=str(said["address"]))
    made.write(folder)
    return made


def _knobs(wish: Wish) -> Iterator[str]:
    if wish.include:
        yield f"--include={wish.include}"
    if wish.fresh:
        yield "--fresh"


def _see_it_end(process: "subprocess.Popen[bytes]", made: Started, folder: Path) -> None:
    code = process.wait()
    with _alone, suppress(OSError):
        if Started.read(folder) == made:
            Started(**{**asdict(made), "code": code}).write(folder)


def _is_it(started: Started) -> bool:
    """Whether the process is still that one: numbers are given again."""
    ours = _ours.get(home())
    if ours and ours.pid == started.pid:
        return ours.poll() is None
    return bool(started.pid and started.began) and _began(started.pid) == started.began


def _began(pid: int) -> str:
    """When a process began, in the system's own count; empty where it does not tell."""
    with suppress(OSError, IndexError):
        return (PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()[STARTED_AT]
    return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
