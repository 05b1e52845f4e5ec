"""Checkpoints of a run: the newest whole one is where a killed run goes on.

`checkpoint-000120/` holds the adapter, the optimizer, the schedule, the random numbers and how far the data
were read. It is written under another name, flushed to disk, and renamed; `whole.json`, written before that,
names every file with its sha256. So a checkpoint that was cut short, or damaged later, is never gone on from.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from backtalk.card import file_entry
from backtalk.errors import BacktalkError
from backtalk.files import read_json, sha256_of, sync_folder, write_json

WHOLE = "whole.json"
NAME = re.compile(r"checkpoint-(\d{6,})")
PART = ".part"


@contextmanager
def writing(folder: Path, step: int) -> Iterator[Path]:
    """A folder to write the checkpoint of `step` into; it takes its name if the block ends without error."""
    part = part_of(folder, step)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        write_json(part / WHOLE, {"step": step, "files": [file_entry(path, part) for path in _files(part)]})
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    for path in _files(part):
        _flush(path)
    sync_folder(part)
    final = folder / part.name[1 : -len(PART)]
    shutil.rmtree(final, ignore_errors=True)  # a damaged one of this step, from which nobody went on
    part.rename(final)
    sync_folder(folder)


def part_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` is while it is written."""
    return folder / f".checkpoint-{step:06}{PART}"


def newest(folder: Path, say: Callable[[str], None]) -> Path | None:
    """The newest whole checkpoint, else None; each that is not whole is told with `say` and left aside."""
    for part in sorted(folder.glob(f".checkpoint-*{PART}")):
        say(f"{part.name[1 : -len(PART)]} was cut short while it was written; it is left aside.")
        shutil.rmtree(part)
    for path in reversed(checkpoints(folder)):
        fault = _fault(path)
        if not fault:
            return path
        say(f"{path.name} is not whole ({fault}); it is left aside.")
    return None


def keep_newest(folder: Path, count: int) -> None:
    """Deletes all but the newest checkpoints."""
    for old in checkpoints(folder)[:-count]:
        shutil.rmtree(old)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(
        (path for path in folder.glob("checkpoint-*") if NAME.fullmatch(path.name)),
        key=lambda path: step_of(path),
    )


def step_of(path: Path) -> int:
    """After how many steps a checkpoint was written."""
    found = NAME.fullmatch(path.name)
    assert found, path
    return int(found[1])


def _fault(path: Path) -> str:
    """What is wrong with a checkpoint; empty where it is whole."""
    try:
        told = read_json(path / WHOLE)
        for entry in told["files"]:
            file = path / entry["path"]
            if not file.is_file():
                return f"{entry['path']} is missing"
            if file.stat().st_size != entry["bytes"] or sha256_of(file) != entry["sha256"]:
                return f"{entry['path']} is damaged"
    except (OSError, BacktalkError, KeyError, TypeError):
        return f"{WHOLE} cannot be read"
    return "" if told.get("step") == step_of(path) else f"{WHOLE} is of another step"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
