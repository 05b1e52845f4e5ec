"""What earlier rounds were asked: their held-out items, as far as they may still be asked today.

An item is left out where a flag of it no longer counts (withdrawn, rejected), where its question is taught
today, or where its answer was corrected since. Of two items with one question the later one stands.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from backtalk.card import Card
from backtalk.files import canonical_json, read_jsonl
from backtalk.home import home

ENOUGH = 300  # groups: with fewer, no change at all is no evidence that at most one in a hundred is lost
TAUGHT = ("sft", "kto", "dpo")

Item = Mapping[str, Any]


def items_of_earlier(rounds: Sequence[tuple[int, Card]], curated: Path) -> tuple[list[Item], dict[str, int]]:
    """The items in the order of their ids, and how many were left out, by reason."""
    split, similar = (import_module(f"feedback.curate.{name}") for name in ("split", "similar"))
    standing = {line["flag_id"] for line in read_jsonl(curated / "manifest.jsonl") if line["used"]}
    found = {canonical_json(item["prompt"]): item for item in _all_items(rounds)}
    corrected = {similar.normalised(text) for text in _corrected(curated)}
    asked = [(item["id"], _spoken(split, item)) for item in found.values()]
    leaking = {leak.train for leak in split.find_leaks(asked, _taught(split, curated))}
    kept, dropped = [], {"without a standing flag": 0, "taught today": 0, "corrected since": 0}
    for item in found.values():
        if not standing.issuperset(item["flags"]):
            dropped["without a standing flag"] += 1
        elif item["id"] in leaking:
            dropped["taught today"] += 1
        elif similar.normalised(item["reference"]) in corrected:
            dropped["corrected since"] += 1
        else:
            kept.append(item)
    return sorted(kept, key=lambda item: str(item["id"])), dropped


def enough_groups(items: Sequence[Item]) -> bool:
    """Whether the gate can judge them by themselves."""
    return len({item.get("group") or item["id"] for item in items}) > ENOUGH


def _all_items(rounds: Sequence[tuple[int, Card]]) -> Iterator[Item]:
    for _, card in rounds:
        file = home() / "curated" / str(card.metrics["curated"]) / "eval.jsonl"
        if file.is_file():
            yield from read_jsonl(file)


def _corrected(curated: Path) -> Iterator[str]:
    """Answers that flags of today call wrong and correct."""
    for row in read_jsonl(curated / "dpo.jsonl"):
        yield row["rejected"][-1]["content"]
    for item in read_jsonl(curated / "eval.jsonl"):
        if item["reference"]:
            yield from item["must_not"]


def _taught(split: Any, curated: Path) -> list[tuple[str, str]]:
    return [
        (row["id"], _spoken(split, row)) for name in TAUGHT for row in read_jsonl(curated / f"{name}.jsonl")
    ]


def _spoken(split: Any, row: Item) -> str:
    turns = [(one["role"], one["content"]) for one in row["prompt"] if one["role"] != "system"]
    return str(split.spoken(turns))
