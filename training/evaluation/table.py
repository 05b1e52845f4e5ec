"""An evaluation's card as text: every model's numbers, the differences with their intervals, the verdict."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backtalk.card import Card

COLUMNS = (
    ("items", "items", "{:,}"),
    ("right", "right", "{:.1%}"),
    ("exact", "exact", "{:.1%}"),
    ("rouge1", "ROUGE-1", "{:.3f}"),
    ("rouge2", "ROUGE-2", "{:.3f}"),
    ("rougeL", "ROUGE-L", "{:.3f}"),
    ("bits_per_byte", "bits/byte", "{:.4f}"),
    ("words", "words", "{:.1f}"),
    ("length_ratio", "of ref.", "{:.2f}"),
    ("empty", "empty", "{:,}"),
    ("truncated", "cut off", "{:,}"),
)
NAMES = {key: title for key, title, _ in COLUMNS}
CHANGES = (
    ("fixed", "fixed"),
    ("still_wrong", "still wrong"),
    ("newly_broken", "newly broken"),
    ("still_right", "still right"),
)
SHORTEST_RATIO, LONGEST_RATIO = 0.5, 2.0
"""Beyond these, answers are so much shorter or longer than their references that ROUGE says little."""


def table(card: Card) -> str:
    """Everything, for a terminal."""
    rows = card.metrics["models"]
    parts = dict.fromkeys(row["part"] for row in rows)
    lines = [line for part in parts for line in _part(card.metrics, part)]
    lines += _warnings(rows)
    return "\n".join([*lines, *(_verdict(one) for one in card.verdicts)])


def _part(metrics: Mapping[str, Any], part: str) -> Iterator[str]:
    rows = [row for row in metrics["models"] if row["part"] == part]
    width = max(24, *(len(_who(row)) + 2 for row in rows))
    shown = [column for column in COLUMNS if any(row.get(column[0]) is not None for row in rows)]
    yield f"{part:<{width}}" + "".join(f"{title:>10}" for _, title, _ in shown)
    for row in rows:
        yield f"{_who(row):<{width}}" + "".join(f"{_cell(row, column):>10}" for column in shown)
    for one in metrics.get("differences", ()):
        if one["part"] == part:
            yield _difference(one)
    for one in metrics.get("changes", ()):
        if one["part"] == part:
            yield _prompt(one) + ", ".join(f"{one[key]:,} {title}" for key, title in CHANGES)
    yield ""


def _difference(one: Mapping[str, Any]) -> str:
    metric = one["metric"]
    share = metric in ("right", "exact")
    scale, digits, unit = (100, 1, " points") if share else (1, 4, "")
    if not one["changed_clusters"]:
        interval = f"none of {one['items']:,} items came out differently"
    elif one["low"] is None:
        interval = "no interval from one group of items"
    else:
        low, high = (f"{scale * one[end]:+.{digits}f}" for end in ("low", "high"))
        reach = f"{scale * one['detectable']:.{digits}f}"
        interval = (
            f"[{low}, {high}], {reach} would show; {one['items']:,} items in {one['clusters']:,} groups"
        )
    return f"  {_prompt(one)}{NAMES[metric]} {scale * one['value']:+.{digits}f}{unit} {interval}"


def _warnings(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        ratio = row["length_ratio"]
        if ratio is not None and not SHORTEST_RATIO <= ratio <= LONGEST_RATIO:
            yield f"{_who(row)}, {row['part']}: answers are {ratio:.2f} times as long as their references."
        if row["dropped_turns"]:
            dropped = f"{row['dropped_turns']:,} earlier turns did not fit and were left out."
            yield f"{_who(row)}, {row['part']}: {dropped}"


def _verdict(one: Mapping[str, Any]) -> str:
    return f"{one['verdict']}: {one['model']} against {one['baseline']}. {one['why']}"


def _who(row: Mapping[str, Any]) -> str:
    return f"{row['role']} {row['name']}" + (f", {row['prompt']}" if row["prompt"] else "")


def _prompt(one: Mapping[str, Any]) -> str:
    return f"{one['prompt']}: " if one["prompt"] else ""


def _cell(row: Mapping[str, Any], column: tuple[str, str, str]) -> str:
    value = row.get(column[0])
    return "-" if value is None else column[2].format(value)
