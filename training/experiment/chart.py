"""`comparison.png`: the curves of all configurations, and where each ended on the test rows."""

from collections.abc import Sequence
from pathlib import Path

from backtalk.files import writing
from training.experiment.decide import Decision, Outcome
from training.experiment.points import Points

FEW = 10  # curves that colours can tell apart; of more, all but the best are grey


def draw_comparison(
    outcomes: Sequence[Outcome], decision: Decision, points: Points, path: Path, title: str
) -> None:
    """Draws it; lower is better in both halves."""
    from matplotlib.figure import Figure

    ordered = sorted(outcomes, key=lambda one: -one.bits_per_byte)
    height = max(4.0, 1.2 + 0.3 * len(ordered))
    figure = Figure(figsize=(12, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = _colours(outcomes, decision)
    beginnings = {one.reading: points.of(one.name)[0] for one in outcomes if one.baseline}
    for one in outcomes:
        curve = points.of(one.name)
        if one.baseline:
            left.axhline(curve[0].bits_per_byte, color=colours[one.name], linestyle=":", linewidth=1)
            continue
        if start := beginnings.get(one.reading):
            curve = [start, *curve]
        width = 2.5 if one.name == decision.chosen.name else 1.2
        left.plot(
            [point.step for point in curve], [point.bits_per_byte for point in curve],
            color=colours[one.name], linewidth=width, marker=".", label=one.name,
        )  # fmt: skip
    left.set(xlabel="step", ylabel="bits per byte, development rows", title="while training")
    if sum(not one.baseline for one in outcomes) <= FEW:
        left.legend(frameon=False, fontsize=8)
    for place, one in enumerate(ordered):
        found = one.interval
        reach = [[found.value - found.low], [found.high - found.value]]
        finite = all(0 <= side[0] < float("inf") for side in reach)
        right.errorbar(
            found.value, place, xerr=reach if finite else None, fmt="o", color=colours[one.name], capsize=3
        )
    right.set_yticks(range(len(ordered)), [_label(one) for one in ordered], fontsize=8)
    right.set(xlabel="bits per byte, test rows (95 % interval of each by itself)", title="at the end")
    right.grid(axis="x", alpha=0.3)
    figure.suptitle(title)
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})


def _colours(outcomes: Sequence[Outcome], decision: Decision) -> dict[str, str]:
    taught = [one.name for one in outcomes if not one.baseline]
    colours = {one.name: "0.4" for one in outcomes}
    for place, name in enumerate(taught):
        colours[name] = f"C{place}" if len(taught) <= FEW else "0.75"
    return colours | {decision.chosen.name: "C3" if len(taught) > FEW else colours[decision.chosen.name]}


def _label(one: Outcome) -> str:
    from training.experiment.expand import shown

    told = ", ".join(f"{key.rpartition('.')[2]} {shown(value)}" for key, value in one.changes.items())
    return f"{one.name}  {told}" if told else one.name
