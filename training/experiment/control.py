"""What a person asks of an experiment while it runs: stop, resume, clone. In files, so any terminal can ask.

    ask(folder, Request("stop", "c3"), by="ana")         requests/TIME-ID.json, whole or not there
    for one in waiting(folder): ...                      what was asked and not done yet, in order
    done(folder, one, step=12)                           a line of history.jsonl: from now on it is so

A request is done between two slices, and only its line in history.jsonl makes it count: an experiment that is
killed before does it again, one that is killed after finds it done.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from backtalk.files import read_json, write_json

REQUESTS, HISTORY = "requests", "history.jsonl"

Action = Literal["stop", "resume", "clone"]


@dataclass(frozen=True)
class Request:
    """What is asked, of which configuration, by whom and when. `changes`: what a clone has otherwise."""

    action: Action
    configuration: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    warm: bool = False
    by: str = ""
    at: str = ""
    id: str = ""


@dataclass(frozen=True)
class Done:
    """A request that was done: at which step of its configuration, and what came of it.

    `refused` says why nothing did; `made` and `warm` are a clone's name and the steps it goes on from.
    """

    request: Request
    step: int
    made: str = ""
    warm: int = 0
    refused: str = ""
    at: str = ""


def ask(folder: Path, request: Request, by: str) -> Request:
    """Leaves a request; it is done at the next end of a chunk."""
    now = datetime.now(UTC)
    identity = f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}"
    whole = Request(
        request.action, request.configuration, request.changes, request.warm, by, _stamp(now), identity
    )
    write_json(folder / REQUESTS / f"{identity}.json", asdict(whole))
    return whole


def waiting(folder: Path) -> list[Request]:
    """What was asked and is not done yet, oldest first."""
    over = {one.request.id for one in history(folder)}
    paths = sorted((folder / REQUESTS).glob("*.json")) if (folder / REQUESTS).is_dir() else []
    return [Request(**read_json(path)) for path in paths if path.stem not in over]


def done(
    folder: Path, request: Request, step: int, *, made: str = "", warm: int = 0, refused: str = ""
) -> Done:
    """Writes down that a request was done, or why it was not."""
    line = Done(request, step, made, warm, refused, _stamp(datetime.now(UTC)))
    path = folder / HISTORY
    _mend(path)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(line)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return line


def history(folder: Path) -> list[Done]:
    """Everything that was done, in order. A last line that a kill cut short is left out, and is left there:
    whoever looks need not be who writes.
    """
    path = folder / HISTORY
    text = path.read_bytes() if path.is_file() else b""
    rows = map(json.loads, text[: text.rfind(b"\n") + 1].splitlines())
    return [Done(**{**row, "request": Request(**row["request"])}) for row in rows]


def _mend(path: Path) -> None:
    """Cuts off a last line that a kill cut short."""
    if path.is_file() and (text := path.read_bytes()) and not text.endswith(b"\n"):
        path.write_bytes(text[: text.rfind(b"\n") + 1])


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
