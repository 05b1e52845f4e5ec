"""`changes.png`: share of right answers before and after, for each kind of question."""

from collections.abc import Sequence
from pathlib import Path

from backtalk.files import writing

Row = tuple[str, int, float, float]
"""What was asked, how many items, share right before and after."""


def draw_changes(rows: Sequence[Row], path: Path, title: str) -> None:
    """Draws two bars for each kind of question; shares from 0 to 1."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.2 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    axes.barh([place - 0.2 for place in places], [row[2] for row in rows], 0.38, color="0.75", label="before")
    axes.barh([place + 0.2 for place in places], [row[3] for row in rows], 0.38, color="C0", label="after")
    axes.set_yticks(list(places), [f"{name} ({items:,})" for name, items, _, _ in rows])
    axes.set(xlabel="share of right answers", xlim=(0, 1), title=title)
    axes.invert_yaxis()
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(1, 0))
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
