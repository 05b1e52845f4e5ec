"""What was taught, as questions: so that everyone whose flag was used hears what became of it.

An item has the form of a curated set's eval.jsonl. These items never reach the gate: a model that learned an
answer by heart is no better for it.
"""

from collections import defaultdict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from backtalk.files import canonical_json, read_jsonl

Row = Mapping[str, Any]


def items_of_taught(curated: Path) -> list[Row]:
    """An item for every question on which a flag corrected an answer or called it bad."""
    rows = import_module("feedback.curate.rows")
    asked: dict[bytes, dict[str, Any]] = {}
    wrong: defaultdict[bytes, list[str]] = defaultdict(list)
    for row, answer in _wrong(curated):
        name = _note(asked, row)
        wrong[name] += [answer] * (answer not in wrong[name])
    for row in read_jsonl(curated / "sft.jsonl"):
        if row["flags"] and (name := canonical_json(row["prompt"])) in wrong:
            _note(asked, row)
            asked[name]["reference"] = row["completion"][-1]["content"]
    items = []
    for name, item in asked.items():
        avoid = [text for text in wrong[name] if text != item["reference"]][: rows.MOST_TO_AVOID]
        must = rows.must_say(item["reference"], avoid)
        items.append({**item, "flags": sorted(item["flags"]), "must": must, "must_not": avoid})
    return sorted((item for item in items if item["must_not"]), key=lambda item: str(item["id"]))


def _wrong(curated: Path) -> list[tuple[Row, str]]:
    """Rows with an answer of theirs that was wrong."""
    pairs = [(row, row["rejected"][-1]["content"]) for row in read_jsonl(curated / "dpo.jsonl")]
    votes = (row for row in read_jsonl(curated / "kto.jsonl") if not row["label"])
    return pairs + [(row, row["completion"][-1]["content"]) for row in votes]


def _note(asked: dict[bytes, dict[str, Any]], row: Row) -> bytes:
    """Adds the row's flags to the item of its question."""
    name = canonical_json(row["prompt"])
    item = asked.setdefault(
        name, {"id": row["id"], "prompt": row["prompt"], "reference": "", "flags": set(), "group": row["id"]}
    )
    item["flags"].update(row["flags"])
    return name
