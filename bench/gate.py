"""How often the gate says PROMOTE: where nothing is better, and where something is, by number of items.

    python bench/gate.py [--quick] [--picture docs/images/gate-power.png]

2,000 repetitions of each case with a fixed seed, each decided by the gate itself. An item gets better, gets
worse, or stays; items come in groups (phrasings of one fact), and in a share of the groups all flip as one.
The interval that the gate uses is compared with three others on the same draws.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from backtalk.progress import Progress
from bench.report import bound, report
from training.evaluation.intervals import CONFIDENCE, RESAMPLES, SEED, Interval, bounds, resample, student
from training.gate import PROMOTE, SHOWN, SIX, Condition, Evidence, decide

REPETITIONS, QUICK_REPETITIONS = 2000, 200
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "gate-power.png"
COUNTS, QUICK_COUNTS = (50, 100, 150, 200, 300, 400, 600, 800, 1200, 1600), (100, 400)
FALSE_PROMOTIONS, POWER = 0.035, 0.8
TAIL = (1 - CONFIDENCE) / 2
NOTHING = 1e-9  # a bound this near 0 is 0: sums of whole numbers, divided
NORMAL = NormalDist()


@dataclass(frozen=True)
class Case:
    """`sizes` of groups: a number, or `1-4` (each as likely) or `1-20` (most items alone)."""

    items: int
    sizes: str
    together: float
    """Share of the groups whose items all flip as one; it is also the correlation of two items of a group."""
    fixed: float
    broken: float

    @property
    def words(self) -> str:
        together = f"{self.together:.0%} flip as one"
        return f"{self.items} items in groups of {self.sizes}, {together}, {self.fixed:.1%}/{self.broken:.1%}"


EQUAL = (
    Case(400, "1-4", 0.1, 0.05, 0.05),
    Case(400, "5", 0.1, 0.05, 0.05),
    Case(400, "5", 1.0, 0.05, 0.05),
    Case(400, "5", 1.0, 0.025, 0.025),
    Case(400, "1-20", 0.3, 0.05, 0.05),
    Case(300, "5", 1.0, 0.3, 0.3),
    Case(100, "1-4", 0.3, 0.05, 0.05),
    Case(100, "5", 1.0, 0.1, 0.1),
    Case(100, "1", 0.0, 0.02, 0.02),
    Case(50, "5", 1.0, 0.3, 0.3),
    Case(50, "5", 0.3, 0.1, 0.1),
    Case(30, "1", 0.0, 0.1, 0.1),
)
BETTER = Case(400, "1-4", 0.1, 0.075, 0.025)
CURVES = (("1", 0.0), ("1-4", 0.1), ("5", 0.1), ("5", 0.3), ("5", 1.0))


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--picture", type=Path, help=f"where the curves are drawn ({PICTURE.name})")
    args = parser.parse_args(argv)
    repetitions = QUICK_REPETITIONS if args.quick else REPETITIONS
    progress = Progress()
    chances = compare_intervals(repetitions, progress)
    power = {
        curve: {n: promoted(Case(n, *curve, 0.075, 0.025), repetitions, progress) for n in counts(args.quick)}
        for curve in CURVES
    }
    progress.done(f"{repetitions:,} repetitions of each case")
    print_power(power)
    if args.picture or not args.quick:
        draw(power, args.picture or PICTURE)
    report(
        "gate",
        [
            bound(f"PROMOTE, nothing is better: {EQUAL[0].words}", chances[0], at_most=FALSE_PROMOTIONS),
            bound(f"the same, worst of {len(EQUAL)} cases", max(chances), at_most=FALSE_PROMOTIONS),
            bound(f"PROMOTE: {BETTER.words}", power[BETTER.sizes, BETTER.together][400], at_least=POWER),
        ],
        repetitions=repetitions,
        power={f"groups of {sizes}, {together:.0%} as one": by for (sizes, together), by in power.items()},
    )


def compare_intervals(repetitions: int, progress: Progress) -> list[float]:
    """Prints how often each kind of interval promotes where nothing is better; the gate's shares."""
    print(f"{'PROMOTE where nothing is better':<68}{'gate':>7}" + "".join(f"{name:>13}" for name in RIVALS))
    chances = []
    for case in EQUAL:
        chances.append(promoted(case, repetitions, progress))
        sums, sizes = draws(case, repetitions)
        others = [(lower(sums, sizes) > NOTHING).mean() for lower in RIVALS.values()]
        print(f"{case.words:<68}{chances[-1]:>7.2%}" + "".join(f"{share:>13.2%}" for share in others))
    return chances


def promoted(case: Case, repetitions: int, progress: Progress) -> float:
    """The share of repetitions in which the gate says PROMOTE; all other conditions hold."""
    progress.report(case.words)
    sums, sizes = draws(case, repetitions)
    low, high, error = bounds(sums, sizes)
    words = [
        decide(
            Evidence(
                Interval(
                    value=float(sums[:, one].sum() / sizes.sum()),
                    low=float(low[one]) if abs(low[one]) > NOTHING else 0.0,
                    high=float(high[one]),
                    error=float(error[one]),
                    items=int(sizes.sum()),
                    clusters=len(sizes),
                    changed=int(np.count_nonzero(sums[:, one])),
                ),
                metric="right",
                primary_is_task=True,
                general=Interval(0.0, -0.001, 0.001, 0.0005, 400, 400, 400),
                quantized=Condition("quantized file", SHOWN, "passed."),
            )
        ).word
        for one in range(repetitions)
    ]
    return words.count(PROMOTE) / repetitions


def draws(case: Case, repetitions: int) -> tuple[np.ndarray, np.ndarray]:
    """Gains of each group in each repetition, (groups, repetitions), and the sizes of the groups."""
    random = np.random.default_rng([SEED, EQUAL.index(case) if case in EQUAL else case.items])
    sizes = group_sizes(case, random)
    sums = np.zeros((len(sizes), repetitions))
    for size in np.unique(sizes):
        groups = np.flatnonzero(sizes == size)
        luck = random.random((len(groups), size, repetitions), dtype=np.float32)
        together = random.random((len(groups), 1, repetitions), dtype=np.float32) < case.together
        luck = np.where(together, luck[:, :1], luck)
        sums[groups] = ((luck < case.fixed) * 1.0 - (luck >= 1 - case.broken)).sum(axis=1)
    return sums, sizes.astype(float)


def group_sizes(case: Case, random: np.random.Generator) -> np.ndarray:
    """Sizes that make up the items exactly."""
    sizes: list[int] = []
    while (left := case.items - sum(sizes)) > 0:
        if case.sizes == "1-20":
            size = min(int(random.zipf(2.0)), 20)
        elif case.sizes == "1-4":
            size = int(random.integers(1, 5))
        else:
            size = int(case.sizes)
        sizes.append(min(size, left))
    return np.array(sizes)


# ---- lower bounds of other intervals: (clusters, outcomes), (clusters,) -> (outcomes,)


def percentile(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Plain percentiles of the bootstrap."""
    return _level(np.sort(resample(sums, sizes, RESAMPLES, SEED), axis=0), np.full(sums.shape[1], TAIL))


def accelerated(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """BCa: percentiles corrected for bias and skewness (Efron 1987), clusters left out one at a time."""
    drawn = np.sort(resample(sums, sizes, RESAMPLES, SEED), axis=0)
    found = sums.sum(0) / sizes.sum()
    below = (drawn < found - NOTHING).mean(0) + (abs(drawn - found) <= NOTHING).mean(0) / 2
    bias = np.array([NORMAL.inv_cdf(min(max(share, TAIL / 100), 1 - TAIL / 100)) for share in below])
    without = (sums.sum(0) - sums) / (sizes.sum() - sizes)[:, None]
    away = without.mean(0) - without
    skew = (away**3).sum(0) / (6 * np.maximum((away**2).sum(0), 1e-30) ** 1.5)
    shifted = bias + NORMAL.inv_cdf(TAIL)
    return _level(drawn, np.array([NORMAL.cdf(z) for z in bias + shifted / (1 - skew * shifted)]))


def studentised(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Bootstrap-t: the draws divided by the standard error of each."""
    random, groups = np.random.default_rng(SEED), len(sizes)
    counts = random.multinomial(groups, np.full(groups, 1 / groups), RESAMPLES).astype(float)
    whole = (counts @ sizes)[:, None]
    drawn = (counts @ sums) / whole
    found = sums.sum(0) / sizes.sum()
    squares = counts @ sums**2 - 2 * drawn * (counts @ (sums * sizes[:, None]))
    errors = np.sqrt(np.maximum(squares + drawn**2 * (counts @ sizes**2)[:, None], 1e-12)) / whole
    ratios = np.sort((drawn - found) / errors, axis=0)
    return found - _level(ratios, np.full(sums.shape[1], 1 - TAIL)) * standard_error(sums, sizes)


def students(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """No bootstrap: the clustered standard error and Student's t (Miller 2024, arXiv 2411.00640)."""
    reach = student(1 - TAIL, len(sizes) - 1) * np.sqrt(len(sizes) / (len(sizes) - 1))
    return sums.sum(0) / sizes.sum() - reach * standard_error(sums, sizes)


def standard_error(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    rest = sums - sums.sum(0) / sizes.sum() * sizes[:, None]
    return np.sqrt((rest**2).sum(0)) / sizes.sum()


def _level(ordered: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The value at each column's share."""
    places = np.clip(np.floor(shares * (len(ordered) + 1)).astype(int) - 1, 0, len(ordered) - 1)
    return np.take_along_axis(ordered, places[None], axis=0)[0]


RIVALS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "percentile": percentile,
    "BCa": accelerated,
    "bootstrap-t": studentised,
    "Student's t": students,
}


# ---- what is shown


def counts(quick: bool) -> tuple[int, ...]:
    return QUICK_COUNTS if quick else COUNTS


def print_power(power: dict[tuple[str, float], dict[int, float]]) -> None:
    numbers = list(next(iter(power.values())))
    print(
        f"\n{'PROMOTE where 7.5 % are fixed and 2.5 % broken, items:':<56}"
        + "".join(f"{n:>7}" for n in numbers)
    )
    for (sizes, together), by in power.items():
        name = f"groups of {sizes}, {together:.0%} flip as one"
        print(f"{name:<56}" + "".join(f"{by[n]:>7.1%}" for n in numbers))
    print()


def draw(power: dict[tuple[str, float], dict[int, float]], path: Path) -> None:
    """The curves on one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=120)
    for (sizes, together), by in power.items():
        name = "single items" if sizes == "1" else f"groups of {sizes}, {together:.0%} flip as one"
        axes.plot(list(by), [100 * share for share in by.values()], marker="o", markersize=3, label=name)
    axes.axhline(100 * POWER, color="grey", linestyle="--", linewidth=1)
    axes.axvline(400, color="grey", linestyle=":", linewidth=1)
    axes.set(
        xlabel="items",
        ylabel="PROMOTE, % of 2,000 repetitions",
        title=f"7.5 % of the items fixed, 2.5 % broken (at least {SIX} groups must change)",
        xlim=(0, None),
        ylim=(0, 101),
    )
    axes.legend(loc="lower right", frameon=False)
    axes.grid(alpha=0.25)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    main(sys.argv[1:])
