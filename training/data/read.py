"""The rows of files: JSON lines, JSON, CSV, Parquet. A row that cannot be read is a Fault with its number.

for row in read_rows(path): ...            Row | Fault, in the order of the file
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.home import home
from training.data.example import Fault, Row

MOST_CELL = 1 << 30  # characters of a CSV cell; Python's own limit of 131,072 is less than a long dialogue
NOT_JSON, NOT_TEXT = "not valid JSON", "not UTF-8 text"


def read_rows(path: Path) -> Iterator[Row | Fault]:
    """Every row of a file. Raises BacktalkError where the file as a whole cannot be read."""
    if path.suffix not in READERS:
        raise BacktalkError(f"{path} is of no known kind; wanted was one of {', '.join(READERS)}.")
    try:
        yield from READERS[path.suffix](path)
    except OSError as fault:
        raise BacktalkError(f"{path} cannot be read ({fault.strerror or fault}).") from fault


def _jsonl(path: Path) -> Iterator[Row | Fault]:
    for number, line in _lines(path):
        if isinstance(line, Fault):
            yield line
        elif line.strip():
            yield _row(number, line)


def _row(number: int, line: str) -> Row | Fault:
    try:
        values = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return Fault(number, NOT_JSON)
    return Row(number, values) if isinstance(values, dict) else Fault(number, "no object with columns")


def _lines(path: Path) -> Iterator[tuple[int, str | Fault]]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                yield number, Fault(number, NOT_TEXT)


def _json(path: Path) -> Iterator[Row | Fault]:
    try:
        rows = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (json.JSONDecodeError, RecursionError) as fault:
        raise BacktalkError(f"{path} is not valid JSON ({fault}).") from fault
    except UnicodeDecodeError as fault:
        raise BacktalkError(f"{path} is not UTF-8 text (byte {fault.start:,}). Save it as UTF-8.") from fault
    if not isinstance(rows, list):
        raise BacktalkError(f"{path} holds no list of rows. With one object per line, call it .jsonl.")
    for number, values in enumerate(rows, start=1):
        yield Row(number, values) if isinstance(values, dict) else Fault(number, "no object with columns")


def _csv(path: Path) -> Iterator[Row | Fault]:
    """Rows are counted as a spreadsheet does without its head: the first row of data is 1."""
    csv.field_size_limit(MOST_CELL)
    unreadable: list[int] = []

    def text() -> Iterator[str]:
        for number, line in _lines(path):
            if isinstance(line, Fault):
                unreadable.append(number)
                line = "\n"
            yield line

    rows = csv.reader(text(), strict=True)
    try:
        head = next(rows, [])
        if len(set(head)) < len(head):
            raise BacktalkError(f"{path} names a column twice: {', '.join(head)}.")
        number = 0
        for cells in rows:
            if unreadable:
                raise BacktalkError(f"{path}, line {unreadable[0]}, is {NOT_TEXT}. Save it as UTF-8.")
            if not cells:
                continue
            number += 1
            if len(cells) == len(head):
                yield Row(number, dict(zip(head, cells, strict=True)))
            else:
                yield Fault(number, f"{len(cells)} cells where the head names {len(head)}")
    except csv.Error as fault:
        raise BacktalkError(f"{path}, line {rows.line_num}, is not valid CSV ({fault}).") from fault
    if unreadable:
        raise BacktalkError(f"{path}, line {unreadable[0]}, is {NOT_TEXT}. Save it as UTF-8.")


def _parquet(path: Path) -> Iterator[Row | Fault]:
    from datasets import load_dataset

    try:  # as a stream, so that nothing is copied into a cache
        stream = load_dataset(
            "parquet", data_files=str(path), split="train", streaming=True, cache_dir=str(home() / "datasets")
        )
        for number, values in enumerate(stream, start=1):
            yield Row(number, values)
    except FileNotFoundError:
        raise
    except Exception as fault:  # the library passes on whatever its reader raised
        raise BacktalkError(f"{path} is not a Parquet file that can be read ({_first(fault)}).") from fault


def _first(fault: Exception) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0]


READERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
