"""A file that a library writes by its name: it gets another name until it is whole.

    with unfinished(Path("exports/a/model-Q8_0.gguf")) as part:
        library.write(str(part))

What a killed process leaves behind is removed by the next one that makes the same file. A part in the making
is locked, so that two processes never take each other's.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from backtalk.files import sync_folder


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; `path` is there once the block has ended without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(part, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield part
            with open(part, "rb") as written:
                os.fsync(written.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    sync_folder(path.parent)


def _remove_left_over(path: Path) -> None:
    for part in path.parent.glob(f".{escape(path.name)}.*.part"):
        with open(part, "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # somebody is still writing it
            part.unlink(missing_ok=True)
