"""`EXPERIMENT_REPORT.md`: what was compared, what came out, how sure that is, and what to try next.

Every sentence is a number that was measured, or follows from one; what cannot be told is said as that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.experiment.control import Done
from training.experiment.decide import FEWEST, Decision, Outcome
from training.experiment.effects import Effect
from training.experiment.expand import shown
from training.experiment.table import as_markdown

WORST = 10
MOST_SHOWN = 240  # characters of a question


@dataclass(frozen=True)
class Findings:
    """Everything that the report tells."""

    id: str
    told: Sequence[str]
    """The plan, and what became of the data."""
    outcomes: Sequence[Outcome]
    decision: Decision
    rows: Sequence[Mapping[str, Any]]
    effects: Sequence[Effect]
    history: Sequence[Done]
    suggestions: Sequence[str]
    dev_items: int
    test_items: int
    same_order: bool
    first_comparison: float | None
    adapter_values: int


def report(found: Findings) -> str:
    """The report as Markdown."""
    parts = (
        _head, _setup, _table, _best, _baselines, _knobs, _costs, _worst, _changes, _next
    )  # fmt: skip
    return "\n".join(line for part in parts for line in part(found)) + "\n"


def conclusion(decision: Decision) -> str:
    """What may be said of the best one, in one sentence."""
    chosen, others = decision.chosen, decision.differences
    if not others:
        return f"{chosen.name} is the only finished configuration, so nothing is compared."
    some = next(iter(others.values()))
    if not some.is_enough:
        return (
            f"No winner: {chosen.name} did best on the development rows, and {some.clusters} test rows "
            f"are too few to claim anything; {FEWEST} and more were wanted."
        )
    if decision.wins:
        nearest = min(others.values(), key=lambda one: one.value)
        return (
            f"{chosen.name} is best: on the test rows every other one needs more bits per byte, the nearest "
            f"({nearest.name}) {nearest.value:+.4f} [{nearest.low:+.4f}, {nearest.high:+.4f}]."
        )
    if better := [name for name, one in others.items() if one.is_better]:
        return (
            f"No winner: the development rows chose {chosen.name}, and on the test rows {', '.join(better)} "
            "did better. Compare again on more rows."
        )
    close = decision.not_told_apart
    worse = [name for name, one in others.items() if one.is_worse]
    rest = f" It is better than {', '.join(worse)}." if worse else ""
    return (
        f"No winner: {chosen.name} did best on the development rows, and the test rows do not tell it apart "
        f"from {', '.join(close)}.{rest}"
    )


def _head(found: Findings) -> Iterator[str]:
    yield f"# {found.id}"
    yield ""
    yield conclusion(found.decision)
    yield ""
    yield "![curves and final numbers](comparison.png)"
    yield ""


def _setup(found: Findings) -> Iterator[str]:
    yield "## Setup"
    yield ""
    yield from (f"- {line}" for line in found.told)
    order = (
        "All configurations saw the same rows in the same order"
        if found.same_order
        else "Configurations differ in data, batches or seed, so some saw other rows or another order"
    )
    yield f"- {order}; differences are paired, item by item."
    yield (
        f"- Chosen on {found.dev_items} development rows, confirmed once on {found.test_items} test rows "
        "that chose nothing. Answers are greedy; ROUGE is rouge_score with its stemmer."
    )
    if found.first_comparison is not None:
        yield f"- All were compared for the first time {found.first_comparison:.1f} s after the start."
    yield ""


def _table(found: Findings) -> Iterator[str]:
    yield "## Results on the test rows"
    yield ""
    yield from as_markdown(found.rows)
    yield ""
    yield (
        "Bits per byte: what a right answer costs, lower is better, comparable across tokenizers. Loss: "
        "nats per learned token in the last steps, which says nothing of other rows. Length: words of the "
        "answers by those of the references; longer answers flatter ROUGE."
    )
    yield ""


def _best(found: Findings) -> Iterator[str]:
    decision, chosen = found.decision, found.decision.chosen
    yield "## The best configuration"
    yield ""
    changes = ", ".join(f"{key} {shown(value)}" for key, value in chosen.changes.items()) or "as the recipe"
    yield f"{chosen.name} ({changes}). {conclusion(decision)}"
    yield ""
    yield (
        f"It was chosen because it was lowest of {len(decision.differences) + 1} on the development rows "
        f"({chosen.dev:.4f}). The lowest of many looks better on the rows that chose it than it is (the "
        f"winner's curse): on the test rows it has {chosen.bits_per_byte:.4f}."
    )
    if decision.differences:
        widest = max(one.detectable for one in decision.differences.values())
        yield ""
        yield (
            "The intervals below hold for all comparisons at once (paired bootstrap over clusters, max-t, "
            f"95 %). A true difference of {widest:.4f} bits per byte would have shown in 80 of 100 cases; "
            "a smaller one may be there and unseen."
        )
        yield ""
        yield "| configuration | bits per byte more | 95 % interval | would have shown | |"
        yield "|---|---|---|---|---|"
        for one in sorted(decision.differences.values(), key=lambda one: one.value):
            yield (
                f"| {one.name} | {one.value:+.4f} | [{one.low:+.4f}, {one.high:+.4f}] | "
                f"{one.detectable:.4f} | {decision.verdict(one.name)} |"
            )
    yield ""


def _baselines(found: Findings) -> Iterator[str]:
    from training.evaluation.compare import difference
    from training.evaluation.scores import BITS

    twins = [one for one in found.outcomes if one.baseline and one.reading == found.decision.chosen.reading]
    for one in twins:
        pairs = list(zip(one.test, found.decision.chosen.test, strict=True))
        gained = difference(pairs, BITS)
        if gained:
            word = "learned something" if gained.high < 0 else "cannot be told to have learned anything"
            yield (
                f"Beside its base untaught ({one.name}) {found.decision.chosen.name} {word}: bits per byte "
                f"{gained.value:+.4f} [{gained.low:+.4f}, {gained.high:+.4f}]."
            )
            yield ""


def _knobs(found: Findings) -> Iterator[str]:
    yield "## What each knob did"
    yield ""
    if not found.effects:
        yield "No two finished configurations differ in one knob alone."
        yield ""
        return
    yield "| knob | from | to | bits per byte | 95 % interval | pairs | |"
    yield "|---|---|---|---|---|---|---|"
    for one in found.effects:
        word = ("better" if one.interval.value < 0 else "worse") if one.is_clear else "not told apart"
        yield (
            f"| {one.knob} | {shown(one.before)} | {shown(one.after)} | {one.interval.value:+.4f} | "
            f"[{one.interval.low:+.4f}, {one.interval.high:+.4f}] | {one.pairs} | {word} |"
        )
    yield ""
    yield "Each interval holds by itself; of twenty such lines one may be wrong by chance."
    yield ""


def _costs(found: Findings) -> Iterator[str]:
    chosen = found.decision.chosen
    yield "## What it costs"
    yield ""
    taught = [one for one in found.outcomes if not one.baseline]
    slowest = max(taught, key=lambda one: one.seconds)
    yield (
        f"{chosen.name} took {chosen.seconds:.1f} s of training for {chosen.steps} steps and has "
        f"{found.adapter_values:,} numbers in its adapter. The slowest was {slowest.name} with "
        f"{slowest.seconds:.1f} s; all together took {sum(one.seconds for one in taught):.1f} s."
    )
    yield ""


def _worst(found: Findings) -> Iterator[str]:
    chosen = found.decision.chosen
    yield "## Where it still fails"
    yield ""
    yield f"The {WORST} test rows whose right answers {chosen.name} finds least likely:"
    yield ""
    ranked = sorted(chosen.test, key=lambda one: -(one.bits or 0.0) / max(one.bytes, 1))
    for number, one in enumerate(ranked[:WORST], start=1):
        asked = one.item.messages[-1]["content"]
        said = one.answer.text if one.answer else ""
        bits = (one.bits or 0.0) / max(one.bytes, 1)
        yield f"{number}. {bits:.2f} bits per byte, ROUGE-L {one.rougeL or 0:.2f}"
        yield f"   - asked: {_line(asked[-MOST_SHOWN:])}"
        yield f"   - right: {_line(one.item.reference)}"
        yield f"   - said: {_line(said) or '(empty)'}"
    yield ""


def _changes(found: Findings) -> Iterator[str]:
    if not found.history:
        return
    yield "## Who changed what while it ran"
    yield ""
    yield "| when | who | what | configuration | at step | |"
    yield "|---|---|---|---|---|---|"
    for one in found.history:
        asked = one.request
        changes = ", ".join(f"{key} {shown(value)}" for key, value in asked.changes.items())
        way = f"made {one.made}, {'warm' if one.warm else 'cold'}: {changes}" if one.made else ""
        yield (
            f"| {one.at} | {asked.by} | {asked.action} | {asked.configuration} | {one.step} | "
            f"{one.refused and f'refused: {one.refused}' or way} |"
        )
    yield ""


def _next(found: Findings) -> Iterator[str]:
    yield "## Next"
    yield ""
    yield from (f"- {line}" for line in found.suggestions)


def _line(text: str) -> str:
    """On one line, without what Markdown would take for its own."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
