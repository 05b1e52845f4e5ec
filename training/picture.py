"""`loss.png`: the loss of each step, and a calmer line through it."""

from pathlib import Path
from typing import Any

from backtalk.files import writing

CALM = 0.95  # share of the past in the calmer line


UNITS = {"sft": "loss (nats per learned token)"}  # the losses of votes have none


def draw_loss(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draws the loss over the steps, each method of a chain beside the one before: their losses differ."""
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(3 + 4 * len(methods), 4), layout="constrained")
    for axes, method in zip(figure.subplots(1, len(methods), squeeze=False)[0], methods, strict=True):
        own = [row for row in rows if row["method"] == method]
        steps, losses = [row["step"] for row in own], [row["loss"] for row in own]
        axes.plot(steps, losses, color="0.75", linewidth=1, label="each step")
        axes.plot(steps, _calmed(losses), color="C0", label="smoothed")
        axes.set(xlabel="step", ylabel=UNITS.get(method, f"loss of {method}"))
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    figure.suptitle(title)
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})


def _calmed(losses: list[float]) -> list[float]:
    """A moving average whose first values are not pulled towards zero."""
    calmed, mean = [], 0.0
    for count, loss in enumerate(losses, start=1):
        mean = CALM * mean + (1 - CALM) * loss
        calmed.append(mean / (1 - CALM**count))
    return calmed
