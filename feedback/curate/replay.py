"""Replay: rows from earlier, mixed into sft.jsonl so that a model does not forget what it could do.

A source is a curated set (its sft.jsonl is read) or a JSON-lines file with `messages`, or `prompt` and
`completion`. Which rows are taken follows from the seed and their content. A row of an earlier set comes
along only while every flag that taught it still stands.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk.errors import WordsError
from backtalk.files import read_jsonl
from feedback.curate.rows import row_id, shuffled
from feedback.curate.split import spoken

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Replayed:
    """One row to replay, with its prompt as leakage is looked for: without the system prompt."""

    id: str
    prompt: str
    line: dict[str, Any]


def read_replay(
    source: Path, controls: re.Pattern[str], standing: Collection[str], seed: int
) -> list[Replayed]:
    """Every usable row of the source, each once, in the order in which they are taken."""
    file = source / "sft.jsonl" if source.is_dir() else source
    if not file.is_file():
        raise WordsError(f"{file} is not there; a curated set or a .jsonl file was wanted to replay from.")
    rows = {
        row.id: row
        for number, line in enumerate(read_jsonl(file), start=1)
        for row in _usable(line, f"{file}, line {number}", controls, standing)
    }
    return sorted(rows.values(), key=lambda row: shuffled(seed, row.id))


def wanted(share: float, others: int) -> int:
    """How many rows make up this share of a file with so many others."""
    return round(others * share / (1 - share))


def _usable(
    line: Any, where: str, controls: re.Pattern[str], standing: Collection[str]
) -> Iterator[Replayed]:
    messages = _messages(line, where)
    flags = line.get("flags", [])
    texts = [message["content"] for message in messages]
    if any(controls.search(text) for text in texts) or not all(flag in standing for flag in flags):
        return
    content = {"prompt": messages[:-1], "completion": messages[-1:]}
    turns = [
        (message["role"], message["content"]) for message in messages[:-1] if message["role"] != "system"
    ]
    name = row_id("sft", content)
    yield Replayed(name, spoken(turns), {**content, "id": name, "flags": sorted(flags)})


def _messages(line: Any, where: str) -> list[dict[str, str]]:
    """The conversation of a line, the answer last."""
    given = line if isinstance(line, dict) else {}
    messages = given.get("messages") or [*given.get("prompt", []), *given.get("completion", [])]
    well_formed = isinstance(messages, list) and all(
        isinstance(one, dict) and one.get("role") in ROLES and isinstance(one.get("content"), str)
        for one in messages
    )
    if not well_formed or len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise WordsError(f"{where}: messages were wanted, or prompt and completion, with the answer last.")
    return [{"role": one["role"], "content": one["content"]} for one in messages]
