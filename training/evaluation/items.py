"""The questions of an evaluation: read from files, refused with the number of the row that is at fault.

A row is one of

    {"prompt": [...], "reference", "must", "must_not", "group", "flags", ...}   a curated set's eval.jsonl
    {"messages": [...], "reference", "must", "must_not", "fact", ...}           an evaluation of the miniature
    {"messages": [..., {"role": "assistant", ...}]}                             its last answer is the refer
    {"prompt": [...], "completion": [...]}                                      a curated set's sft.jsonl
    {"text": "..."}                                                             plain text: bits per byte only

or, where a prompt variant is named, has the columns that the variant shows, and the right answer in one of
REFERENCES. `"exact": true` asks for the reference word for word.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk.errors import WordsError
from backtalk.files import read_jsonl
from backtalk.prompt import Message
from training.data.variant import Variant
from training.mini.questions import is_right

PRIMARY, TASK, EARLIER, GENERAL = "primary", "task", "earlier", "general"
PARTS = (PRIMARY, TASK, EARLIER, GENERAL)
"""What a file is for: the gate asks each part something else."""

REFERENCES = ("reference", "completion", "response", "summary")
"""Columns that may hold the right answer of a row that a variant puts into words."""

ROLES = ("system", "user", "assistant")
CLUSTERS = ("fact", "source", "group", "conversation")
"""What items are resampled by, the first that a row has: phrasings of one fact flip together."""


@dataclass(frozen=True)
class Item:
    """One question; `messages` is empty for plain text. ` | ` parts alternatives in `must`."""

    id: str
    part: str
    place: str
    """File and row, for errors."""
    messages: tuple[Message, ...]
    reference: str
    must: tuple[str, ...]
    must_not: tuple[str, ...]
    exact: bool
    cluster: str
    flagged: bool
    """Whether it was made of flags."""

    @property
    def checked(self) -> bool:
        """Whether an answer can be right or wrong."""
        return bool(self.must or self.must_not)

    def is_right(self, answer: str) -> bool:
        """Whether it says what it must and nothing that it must not, between word borders."""
        return is_right(self, answer)

    def is_exact(self, answer: str) -> bool:
        """Whether it is the reference, white space aside."""
        return answer.split() == self.reference.split()


def read_items(files: Mapping[str, Sequence[Path]], variant: Variant | None = None) -> list[Item]:
    """The items of all files by part, in order; `variant` puts rows of columns into words.

    Raises WordsError with the row that is no item.
    """
    items = [item for part, paths in files.items() for path in paths for item in _read(path, part, variant)]
    _refuse_twins(items)
    return items


def _read(path: Path, part: str, variant: Variant | None) -> list[Item]:
    if not path.is_file():
        raise WordsError(f"There is no file {path}. Name a file of JSON lines, such as a set's eval.jsonl.")
    try:
        items = [_item(row, path, number, part, variant) for number, row in enumerate(read_jsonl(path), 1)]
    except UnicodeDecodeError as fault:
        raise WordsError(f"{path} is not UTF-8 text. Save it as UTF-8.") from fault
    if not items:
        raise WordsError(f"{path} has no rows, and at least one item was wanted.")
    if not any(item.reference or item.checked for item in items):
        raise WordsError(
            f"No row of {path} says what a right answer is. Give a 'reference', 'must' or 'must_not'."
        )
    return items


def _item(row: Any, path: Path, number: int, part: str, variant: Variant | None) -> Item:
    place = f"{path}, row {number}"
    if not isinstance(row, Mapping):
        raise WordsError(f"{place}, is not an object with keys. Wanted: 'prompt' or 'messages'.")
    if variant and not {"prompt", "messages", "text"} & row.keys():
        row = _in_words(row, place, variant)
    messages, reference = _question(row, place)
    identity = str(row.get("id") or f"{path.stem}:{number}")
    exact = row.get("exact", False)
    if exact and not reference:
        raise WordsError(f"{place}, wants an exact match and has no 'reference'. Give one.")
    return Item(
        identity,
        part,
        place,
        messages,
        reference,
        _texts(row, "must", place),
        _texts(row, "must_not", place),
        bool(exact),
        next((f"{key}:{row[key]}" for key in CLUSTERS if row.get(key)), f"item:{part}:{identity}"),
        bool(row.get("flags")),
    )


def _in_words(row: Mapping[str, Any], place: str, variant: Variant) -> dict[str, Any]:
    """A row of columns as a question with a reference."""
    variant.check(row, place)
    reference = next((row[name] for name in REFERENCES if row.get(name)), "")
    rest = {key: value for key, value in row.items() if key not in REFERENCES}
    return {**rest, "prompt": variant.message(row), "reference": reference}


def _question(row: Mapping[str, Any], place: str) -> tuple[tuple[Message, ...], str]:
    """What is asked and a right answer, empty where none is known."""
    if "text" in row:
        if not isinstance(row["text"], str) or not row["text"]:
            raise WordsError(f"{place}, has an empty 'text'. Give it one or delete the row.")
        return (), row["text"]
    found = row.get("prompt", row.get("messages"))
    if found is None:
        there = ", ".join(map(str, row)) or "none"
        raise WordsError(
            f"{place}, has no 'prompt' and no 'messages' (its keys: {there}). Give it one, or name what puts "
            "its columns into words: --prompt NAME."
        )
    messages = _messages(found, place)
    reference = str(row.get("reference") or "")
    if row.get("completion"):
        reference = "".join(message["content"] for message in _messages(row["completion"], place))
    elif messages[-1]["role"] == "assistant":
        messages, reference = messages[:-1], reference or messages[-1]["content"]
    if not messages or messages[-1]["role"] != "user":
        raise WordsError(f"{place}, does not end with a question of the user's, so nothing can be answered.")
    return tuple(messages), reference


def _messages(found: Any, place: str) -> list[Message]:
    if isinstance(found, str):
        found = [{"role": "user", "content": found}]
    if not isinstance(found, list) or not found or not all(map(_is_message, found)):
        raise WordsError(
            f"{place}, holds messages that are none. Each wants 'role' ({', '.join(ROLES)}) and a text as "
            "'content'."
        )
    return [{"role": message["role"], "content": message["content"]} for message in found]


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, Mapping)
        and message.get("role") in ROLES
        and isinstance(message.get("content"), str)
    )


def _texts(row: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
    found = row.get(key) or []
    if not isinstance(found, list) or not all(isinstance(text, str) and text for text in found):
        raise WordsError(f"{place}, has a '{key}' that is not a list of texts.")
    return tuple(found)


def _refuse_twins(items: Iterable[Item]) -> None:
    """The same item twice would count twice, and what is told of it could mean either."""
    seen: dict[tuple[str, str], Item] = {}
    for item in items:
        twin = seen.setdefault((item.part, item.id), item)
        if twin is not item:
            raise WordsError(f"{item.place}, has the id '{item.id}' of {twin.place}. Rename one of them.")
