"""What was measured of a run, for its card: of the whole, and of each method of its chain."""

from collections.abc import Sequence
from typing import Any

from training.machine import device, peak_memory
from training.stage import Stage

ENDS = 0.1  # share of the steps whose mean stands for the beginning, and for the end

Steps = list[dict[str, Any]]


def summary(stages: Sequence[Stage], steps: Steps) -> dict[str, Any]:
    """The card's metrics. `steps`: the rows of metrics.jsonl; losses of the whole are the last method's."""
    trained = [stage for stage in stages if stage.steps]
    last = _of(steps, trained[-1])
    tokens, seconds = sum(row["tokens"] for row in steps), sum(row["seconds"] for row in steps)
    return {
        "steps": sum(stage.steps for stage in stages),
        "rows": sum(stage.count for stage in trained),
        "learned_tokens_per_epoch": sum(stage.learned for stage in trained),
        "loss": last[-1]["loss"],
        "loss_of_last_tenth": _mean(last[-_tenth(last) :], "loss"),
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / max(seconds, 1e-6), 1),
        "peak_bytes": peak_memory(device()),
        "data": stages[0].loaded.report,
        "stages": [_stage(stage, _of(steps, stage)) for stage in stages],
    }


def _stage(stage: Stage, steps: Steps) -> dict[str, Any]:
    """One method: what it learned from and how it went, or why it was left out."""
    found: dict[str, Any] = {"method": stage.method, "rows": stage.count, "data": stage.loaded.report}
    if stage.votes:
        balance = stage.balance
        found |= {"good": balance.good, "bad": balance.bad}
        found |= {"desirable_weight": balance.desirable, "undesirable_weight": balance.undesirable}
    if stage.left_out:
        return {**found, "left_out": stage.left_out}
    first, last = steps[: _tenth(steps)], steps[-_tenth(steps) :]
    found |= {
        "steps": stage.steps,
        "loss": steps[-1]["loss"],
        "loss_of_first_tenth": _mean(first, "loss"),
        "loss_of_last_tenth": _mean(last, "loss"),
        "tokens": sum(row["tokens"] for row in steps),
        "seconds": round(sum(row["seconds"] for row in steps), 1),
    }
    if stage.method == "sft":
        return found
    measured = ("margin", "reward_of_better", "reward_of_worse", "distance", "accuracy")
    ends = {f"{name}_of_last_tenth": _mean(last, name) for name in measured if _has(last, name)}
    return {**found, "reference": stage.recipe.start or "base", **ends}


def _of(steps: Steps, stage: Stage) -> Steps:
    return [row for row in steps if row["method"] == stage.method]


def _tenth(steps: Steps) -> int:
    return max(1, round(ENDS * len(steps)))


def _has(steps: Steps, name: str) -> bool:
    return any(name in row for row in steps)


def _mean(steps: Steps, name: str) -> float:
    """Of the rows that have it: a batch of good answers alone has no margin."""
    found = [row[name] for row in steps if name in row]
    return float(sum(found) / len(found))
