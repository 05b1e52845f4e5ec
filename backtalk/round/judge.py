"""The gate's verdict on a round, with what too few items of earlier rounds add to it.

The task test has to pass by itself, always. Too few items of earlier rounds for a condition of their own
(earlier.py) add two: they must not be shown to be worse by themselves, and where any of them were lost, task
test and they together must pass as well. What is gained in one place makes up for nothing in another.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

PROMOTE, HOLD, REJECT = "PROMOTE", "HOLD", "REJECT"
WORDS = {"shown": PROMOTE, "open": HOLD, "broken": REJECT}
ORDER = (PROMOTE, HOLD, REJECT)
ALONE, TOGETHER = "earlier rounds, alone", "task test and earlier rounds"

Said = dict[str, Any]


def lost_any(metrics: Mapping[str, Any]) -> bool:
    """Whether any item of the primary set was right and is wrong now; of texts, whether they got worse."""
    checked = [row for row in metrics["changes"] if row["part"] == "primary"]
    if checked:
        return any(row["newly_broken"] for row in checked)
    return any(row["value"] < 0 for row in metrics["differences"] if row["metric"] == "rougeL")


def with_condition(verdict: Said, condition: Mapping[str, Any]) -> Said:
    """The verdict with one condition more, which can make it worse and never better."""
    word = WORDS[condition["standing"]]
    more: Said = {"conditions": [*verdict["conditions"], dict(condition)]}
    if ORDER.index(word) > ORDER.index(verdict["verdict"]):
        more |= {"verdict": word, "why": condition["why"]}
    elif word == verdict["verdict"]:
        more["why"] = f"{verdict['why']} {condition['why']}"
    return verdict | more


def together(task: Sequence[Mapping[str, Any]], earlier: Sequence[Mapping[str, Any]]) -> tuple[Said, int]:
    """The condition on task test and earlier items as one set, and how many more items would tell.

    Both are rows of an evaluation's items.jsonl. The gate judges them as it does items of earlier rounds.
    """
    gate, intervals = (import_module(name) for name in ("training.gate", "training.evaluation.intervals"))
    rows = list(_gains([*task, *earlier]))
    clusters, gains = zip(*rows, strict=True)
    found = intervals.paired(clusters, gains)
    decided = gate.decide(gate.Evidence(primary=found, metric="share right", earlier=found))
    condition = next(one for one in decided.conditions if one.name == "earlier rounds")
    why = f"{TOGETHER.capitalize()}: {condition.why}"
    return {"name": TOGETHER, "standing": condition.standing, "why": why}, condition.more_items


def named(name: str, condition: Mapping[str, Any]) -> Said:
    """The condition under another name."""
    reason = condition["why"].partition(": ")[2]
    return {"name": name, "standing": condition["standing"], "why": f"{name.capitalize()}: {reason}"}


def _gains(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """Cluster and gain of each item, in what is right where items say so, else in ROUGE-L."""
    metric = "right" if any("right" in row["model"] for row in rows) else "rougeL"
    for row in rows:
        if metric in row["model"] and metric in row["baseline"]:
            yield row["cluster"], row["model"][metric] - row["baseline"][metric]
