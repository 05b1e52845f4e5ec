"""What a GGUF answered in earlier evaluations: the same file is asked the same question once.

The model that is served now was the candidate of an earlier round, and the task test of the two is the same.

    known = Known(model, variant, most=256)
    known.recall(asked, read, kept)    what is known of items that are to be asked, and read
    known.remember(items, kept)        for the next evaluation

`answers/ID.jsonl` has a line of JSON for each result: what it is of, "answer" or "bits", and its value. ID
follows from everything that decides over an answer. What flags asked is not kept, since flags are withdrawn
and purged.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from backtalk import __version__
from backtalk.files import canonical_json, read_jsonl, write_jsonl
from backtalk.home import home
from backtalk.models import Model
from training.data.variant import Variant
from training.evaluation.items import GENERAL, TASK, Item
from training.evaluation.kept import Kept, key
from training.evaluation.scores import Answer

MODELS = 20  # the last ones that were asked stay
ANSWER, BITS = "answer", "bits"


class Known:
    """The answers and bits of one file under one prompt, by what was asked; without a file none."""

    def __init__(self, model: Model | None, variant: Variant | None, most: int) -> None:
        self._folder = home() / "answers"
        self._path = self._folder / f"{_identity(model, variant, most)}.jsonl" if model else None
        self._values: dict[tuple[str, str], Any] = {}
        if self._path and self._path.is_file():
            self._values = {(of, what): value for of, what, value in read_jsonl(self._path)}

    def recall(self, asked: Iterable[Item], read: Iterable[Item], kept: Kept) -> None:
        """Keeps what is known of items that have nothing yet."""
        for item in filter(_is_lasting, kept.unanswered(asked)):
            if (answer := self._values.get((_question(item), ANSWER))) is not None:
                kept.keep_answer(item, Answer(**answer))
        for item in filter(_is_lasting, kept.unread(read)):
            if (bits := self._values.get((_question(item), BITS))) is not None:
                kept.keep_bits(item, bits)

    def remember(self, items: Iterable[Item], kept: Kept) -> None:
        """Adds what was kept of the items, and forgets the models that were asked longest ago."""
        if not self._path:
            return
        for item in filter(_is_lasting, items):
            if answer := kept.answers.get(key(item)):
                self._values[_question(item), ANSWER] = asdict(answer)
            if key(item) in kept.bits:
                self._values[_question(item), BITS] = kept.bits[key(item)]
        self._folder.mkdir(parents=True, exist_ok=True)
        write_jsonl(self._path, ([*of, value] for of, value in self._values.items()))
        newest = sorted(self._folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in newest[MODELS:]:
            path.unlink(missing_ok=True)


def _is_lasting(item: Item) -> bool:
    return item.part in (TASK, GENERAL) and not item.flagged


def _question(item: Item) -> str:
    # Escaped, since a text may hold half a character, which UTF-8 has no bytes for.
    asked = json.dumps([item.messages, item.reference], sort_keys=True)
    return sha256(asked.encode()).hexdigest()[:24]


def _identity(model: Model, variant: Variant | None, most: int) -> str:
    said_with = [__version__, version("llama-cpp-python"), [variant.name, variant.source] if variant else []]
    return sha256(canonical_json([model.sha256, most, *said_with])).hexdigest()[:12]
