"""`loss.png`: the loss of each step, and a calmer line through it."""

from pathlib import Path
from typing import Any

from backtalk.files import writing

CALM = 0.95  # share of the past in the calmer line


def draw_loss(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draws the loss over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
    axes.plot(steps, losses, color="0.75", linewidth=1, label="each step")
    axes.plot(steps, _calmed(losses), color="C0", label="smoothed")
    axes.set(xlabel="step", ylabel="loss (nats per learned token)", title=title)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})


def _calmed(losses: list[float]) -> list[float]:
    """A moving average whose first values are not pulled towards zero."""
    calmed, mean = [], 0.0
    for count, loss in enumerate(losses, start=1):
        mean = CALM * mean + (1 - CALM) * loss
        calmed.append(mean / (1 - CALM**count))
    return calmed
