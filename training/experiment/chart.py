"""`comparison.png`: the curves of all configurations, and where each ended on the test rows."""

import math
from collections.abc import Sequence
from pathlib import Path

from backtalk.files import writing
from training.evaluation.intervals import paired
from training.experiment.decide import Decision, Outcome, parts
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
        value, low, high = _beside(one, decision)
        finite = math.isfinite(low) and math.isfinite(high)
        reach = [[value - low], [high - value]] if finite else None
        right.errorbar(value, place, xerr=reach, fmt="o", color=colours[one.name], capsize=3)
    right.axvline(0, color="0.6", linewidth=1)
    right.set_yticks(range(len(ordered)), [_label(one) for one in ordered], fontsize=8)
    right.set(
        xlabel=f"bits per byte more than {decision.chosen.name}, test rows (95 % intervals)",
        title="at the end",
    )
    right.grid(axis="x", alpha=0.3)
    figure.suptitle(title)
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})


def _beside(one: Outcome, decision: Decision) -> tuple[float, float, float]:
    """How much more than the chosen one, and from where to where; of an untaught base by itself."""
    if one is decision.chosen:
        return 0.0, 0.0, 0.0
    if found := decision.differences.get(one.name):
        return found.value, found.low, found.high
    bits, sizes, clusters = parts(one.test)
    own = paired(clusters, list(bits - parts(decision.chosen.test)[0]), list(sizes))
    return own.value, own.low, own.high


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
