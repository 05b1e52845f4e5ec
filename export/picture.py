"""`quality_vs_size.png`: what each file loses beside what it weighs, on the scale of decades."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backtalk.files import writing

NAME = "quality_vs_size.png"
LEAST = 1e-9  # nats per token: nearer than this is drawn here, since zero has no logarithm


def draw(rows: Mapping[str, Mapping[str, Any]], path: Path, title: str) -> Path:
    """One point for each type in `rows` (as a card's metrics hold them); failed ones are crosses."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_yscale("log")
    for quant, row in rows.items():
        place = row["bytes"] / 1e6, max(row["divergence"], LEAST)
        passed = row["passed"]
        axes.plot(*place, "o" if passed else "x", color="tab:blue" if passed else "tab:red", markersize=8)
        axes.annotate(quant, place, xytext=(7, 5), textcoords="offset points", fontsize=9)
    axes.margins(0.18)
    axes.set_xlabel("size, MB")
    axes.set_ylabel("divergence from the model, nats per token")
    axes.set_title(f"{title}: quality and size (lower left is better)")
    axes.grid(True, which="major", color="0.9")
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return path
