"""Before and after: what a round changed, on held-out wordings, in the rows that a round is judged by.

    before, after = (wrong_answers(ref, items, progress) for ref in ("mini", "promoted"))
    lines = compare(before, after, items, changed={1})
    print(table(lines)); draw(lines, Path("demo.png"), "One round")

Facts of a batch that is not repaired yet are asked by nobody here: they are neither right nor lost.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from backtalk.files import writing
from backtalk.progress import Progress
from training.mini.evaluate import evaluate, read_items
from training.mini.questions import EvaluationItem

FLAGGED, OUTDATED = "flagged", "outdated"
TITLES = {
    FLAGGED: "facts that were flagged",
    "facts": "facts that nobody flagged",
    "small_talk": "small talk",
    "history": "follow-ups with history",
    "outside": "questions outside the shop refused",
    "summaries": "summaries",
}


@dataclass(frozen=True)
class Line:
    """One row: shares of right answers, and the share of items that were right and are wrong now."""

    name: str
    n: int
    before: float
    after: float
    newly_wrong: float

    @property
    def title(self) -> str:
        return TITLES.get(self.name, self.name)

    @property
    def change(self) -> float:
        """In points of a hundred."""
        return 100 * (self.after - self.before)

    def as_json(self) -> dict[str, Any]:
        return {
            name: round(value, 5) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def held_out(changed: Collection[int], most: int = 0) -> list[EvaluationItem]:
    """The committed questions of the table's rows; of outdated facts those of the `changed` batches.

    At most `most` of each row, evenly taken, but all of the flagged ones; 0 takes all.
    """
    items = [item for item in read_items() if _row(item, changed)]
    chosen: list[EvaluationItem] = []
    for _, group in groupby(items, key=attrgetter("row")):
        row = list(group)
        step = -(-len(row) // most) if most and row[0].row != OUTDATED else 1
        chosen += row[::step]
    return chosen


def wrong_answers(ref: str, items: Sequence[EvaluationItem], progress: Progress) -> dict[str, str]:
    """Every wrong answer by the id of its item, from the GGUF as it is served, greedy."""
    return {row["id"]: row["answer"] for row in evaluate(ref, items, progress)[1]}


def compare(
    before: Collection[str], after: Collection[str], items: Sequence[EvaluationItem], changed: Collection[int]
) -> list[Line]:
    """The rows in the order of `TITLES`; `before` and `after` are the ids of wrong answers."""
    rows: dict[str, list[str]] = {name: [] for name in TITLES}
    for item in items:
        if name := _row(item, changed):
            rows[name].append(item.id)
    return [_line(name, ids, before, after) for name, ids in rows.items() if ids]


def _row(item: EvaluationItem, changed: Collection[int]) -> str:
    if item.row == OUTDATED:
        return FLAGGED if item.batch in changed else ""
    return item.row if item.row in TITLES else ""


def _line(name: str, ids: Sequence[str], before: Collection[str], after: Collection[str]) -> Line:
    n = len(ids)
    lost = sum(one in after and one not in before for one in ids)
    wrong_before, wrong_after = (sum(one in wrong for one in ids) for wrong in (before, after))
    return Line(name, n, 1 - wrong_before / n, 1 - wrong_after / n, lost / n)


def table(lines: Sequence[Line]) -> str:
    """The rows as text."""
    head = f"{'right, in wordings never trained':<42}{'n':>5}{'before':>9}{'after':>9}{'newly wrong':>13}"
    return "\n".join(
        [head]
        + [
            f"{line.title:<42}{line.n:>5}{line.before:>9.1%}{line.after:>9.1%}{line.newly_wrong:>13.1%}"
            for line in lines
        ]
    )


def draw(lines: Sequence[Line], path: Path, title: str) -> Path:
    """The rows as bars, before beside after."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    places = range(len(lines))
    before = axes.barh([place - 0.19 for place in places], [100 * line.before for line in lines], 0.36)
    after = axes.barh([place + 0.19 for place in places], [100 * line.after for line in lines], 0.36)
    for bars, colour, label in ((before, "0.75", "before"), (after, "tab:blue", "after")):
        for bar in bars:
            bar.set_color(colour)
        bars.set_label(label)
        axes.bar_label(bars, fmt="%.0f %%", padding=3, fontsize=9)
    axes.set_yticks(list(places), [f"{line.title} ({line.n})" for line in lines])
    axes.invert_yaxis()
    axes.set_xlim(0, 112)
    axes.set_xticks([])
    axes.set_title(title)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return path
