"""Files that are whole or not there: atomic writes, JSON lines, hashes.

A final name always holds a complete file: content goes to a temporary name in the same folder, is flushed to
disk and renamed. What a crash leaves behind begins with a dot and ends in `.part`.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import IO, Any

from backtalk.errors import BacktalkError


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under `path` only if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}.part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    with writing(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON (two spaces, keys as given), whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file; a broken file is one sentence."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as fault:
        raise BacktalkError(f"{path} is not valid JSON ({fault}). Restore it or delete it.") from fault


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Writes one canonical JSON object per line, whole or not at all."""
    with writing(path) as file:
        for row in rows:
            file.write(canonical_json(row) + b"\n")


def read_jsonl(path: Path) -> Iterator[Any]:
    """The rows of a JSON-lines file; a broken line is named by its number."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as fault:
                raise BacktalkError(f"{path}, line {number}, is not valid JSON ({fault}).") from fault


def canonical_json(value: Any) -> bytes:
    """The one spelling of a value that hashes and signatures use: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hex, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
