"""Answers that are there already: an evaluation that was interrupted goes on where it stopped.

One line of JSON for each result, added as it comes. A last line that a crash cut short is left out.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.evaluation.items import Item
from training.evaluation.scores import Answer


class Kept:
    """The answers and bits of one model under one prompt, by item."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[Key, Answer] = {}
        self.bits: dict[Key, float] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        for part, identity, what, value in whole_lines(path):
            if what == "answer":
                self.answers[part, identity] = Answer(**value)
            else:
                self.bits[part, identity] = value
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def unanswered(self, items: Iterable[Item]) -> list[Item]:
        return [item for item in items if key(item) not in self.answers]

    def unread(self, items: Iterable[Item]) -> list[Item]:
        return [item for item in items if key(item) not in self.bits]

    def keep_answer(self, item: Item, answer: Answer) -> None:
        self.answers[key(item)] = answer
        self._write(item, "answer", asdict(answer))

    def keep_bits(self, item: Item, bits: float) -> None:
        self.bits[key(item)] = bits
        self._write(item, "bits", bits)

    def close(self) -> None:
        self._file.close()

    def _write(self, item: Item, what: str, value: Any) -> None:
        self._file.write(json.dumps([*key(item), what, value]) + "\n")
        self._file.flush()


Key = tuple[str, str]


def key(item: Item) -> Key:
    """What an item is known by within one evaluation."""
    return item.part, item.id


def whole_lines(path: Path) -> Iterator[Any]:
    """The lines that were written to their end; a torn one is cut off, so that the next begins a line."""
    if not path.is_file():
        return
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        path.write_bytes(whole)
    for line in whole.splitlines():
        yield json.loads(line)
