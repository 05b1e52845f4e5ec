"""Replay: rows from earlier, mixed into sft.jsonl so that a model does not forget what it could do.

A source is a curated set (its sft.jsonl is read) or a JSON-lines file with `messages`, or `prompt` and
`completion`. Which rows are taken follows from the seed and their content. A row of an earlier set comes
along only while every flag that taught it still stands, says what it said then (the manifest beside the file
tells by event), and is neither rejected nor in conflict. A row whose answer holds one that is wrong whatever
was asked (wrong.py) is left out: it would teach again what was just put right. An answer that many rows give,
such as a refusal, is a manner of speaking and stays: it was wrong for one question, and is right for others.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from backtalk.errors import WordsError
from backtalk.files import read_jsonl
from feedback.curate.agreement import INCLUDED
from feedback.curate.rows import row_id, shuffled
from feedback.curate.similar import normalised
from feedback.curate.split import spoken

ROLES = ("system", "user", "assistant")
MANNER_SHARE = 0.02  # of the rows that give an answer: above that it states nothing in particular
MANNER_FEW = 20  # rows are never so many


class Stands(NamedTuple):
    """A flag as it stands now, where its event does not keep it out: the event, and the flag's state."""

    event: str
    state: str


@dataclass(frozen=True)
class Replayed:
    """One row to replay, with its prompt as leakage is looked for: without the system prompt."""

    id: str
    prompt: str
    line: dict[str, Any]

    @property
    def answer(self) -> str:
        return str(self.line["completion"][-1]["content"])


@dataclass
class Replay:
    """The rows that may be taken, in order, and how many may not be, by reason."""

    rows: list[Replayed] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def drop(self, names: Collection[str], reason: str) -> None:
        """Leaves out the rows with these names."""
        kept = [row for row in self.rows if row.id not in names]
        self.left_out[reason] += len(self.rows) - len(kept)
        self.rows = kept


def read_replay(source: Path, controls: re.Pattern[str], standing: Mapping[str, Stands], seed: int) -> Replay:
    """Every usable row of the source, each once, in the order in which they are taken."""
    file = source / "sft.jsonl" if source.is_dir() else source
    if not file.is_file():
        raise WordsError(f"{file} is not there; a curated set or a .jsonl file was wanted to replay from.")
    replay, rows, taught_by = Replay(), dict[str, Replayed](), _events(file.with_name("manifest.jsonl"))
    for number, line in enumerate(read_jsonl(file), start=1):
        row, fault = _read(line, f"{file}, line {number}", controls)
        fault = fault or _fault_of_flags(row.line["flags"], standing, taught_by)
        if fault:
            replay.left_out[fault] += 1
        else:
            rows[row.id] = row
    replay.rows = sorted(rows.values(), key=lambda row: shuffled(seed, row.id))
    return replay


def saying(rows: Sequence[Replayed], wrong: Collection[str]) -> set[str]:
    """The names of the rows whose answer holds one of the wrong answers, but for spelling."""
    texts = sorted({normalised(text) for text in wrong} - {""}, key=len, reverse=True)
    if not texts:
        return set()
    said = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, texts))})(?!\w)")
    found = {row.id: set(said.findall(normalised(row.answer))) for row in rows}
    count = Counter(text for hits in found.values() for text in hits)
    manners = {text for text, many in count.items() if many > max(MANNER_FEW, MANNER_SHARE * len(rows))}
    return {name for name, hits in found.items() if hits - manners}


def wanted(share: float, others: int) -> int:
    """How many rows make up this share of a file with so many others."""
    return round(others * share / (1 - share))


def _events(manifest: Path) -> dict[str, str]:
    """By flag the event that stood when the set was made; none where it is no set."""
    lines = read_jsonl(manifest) if manifest.is_file() else ()
    return {
        line["flag_id"]: line["event_id"] for line in lines if isinstance(line, dict) and line.get("state")
    }


def _fault_of_flags(
    flags: Sequence[str], standing: Mapping[str, Stands], taught_by: Mapping[str, str]
) -> str:
    """Why these flags do not teach any more what they taught; empty where they do."""
    for flag in flags:
        now = standing.get(flag)
        if now is None:
            return "flag_withdrawn"
        if now.state not in INCLUDED["all"]:
            return f"flag_{now.state}"
        if now.event != taught_by.get(flag):
            return "flag_amended"
    return ""


def _read(line: Any, where: str, controls: re.Pattern[str]) -> tuple[Replayed, str]:
    """The row of a line, and why it cannot be used; empty where it can."""
    messages = _messages(line, where)
    flags = line.get("flags", [])
    content = {"prompt": messages[:-1], "completion": messages[-1:]}
    turns = [
        (message["role"], message["content"]) for message in messages[:-1] if message["role"] != "system"
    ]
    name = row_id("sft", content)
    row = Replayed(name, spoken(turns), {**content, "id": name, "flags": sorted(flags)})
    controlled = any(controls.search(message["content"]) for message in messages)
    return row, "control_tokens" if controlled else ""


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
