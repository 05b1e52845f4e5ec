"""The comparison as a table: for the terminal, for results.csv, for the report."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from training.experiment.decide import Decision, Outcome
from training.experiment.expand import shown
from training.experiment.state import Line, State

COLUMNS = (
    "configuration", "standing", "steps", "dev_bits_per_byte", "bits_per_byte", "difference", "low", "high",
    "loss", "rouge1", "rouge2", "rougeL", "words", "tokens", "length_ratio", "empty", "truncated", "seconds",
    "verdict",
)  # fmt: skip


def rows(
    outcomes: Sequence[Outcome], left: Sequence[Line], decision: Decision, knobs: Sequence[str]
) -> list[dict[str, Any]]:
    """One for each configuration and untaught base, the finished ones by their test rows, best first.

    `left`: who is not finished.
    """
    ordered = sorted(outcomes, key=lambda one: one.bits_per_byte)
    found = [_row(one, decision, knobs) for one in ordered]
    for line in left:
        changes = {knob: shown(line.changes[knob]) for knob in knobs if knob in line.changes}
        found.append(
            {"configuration": line.name, "standing": line.standing, "steps": line.step, **changes,
             "dev_bits_per_byte": line.bits_per_byte, "loss": line.loss, "seconds": line.seconds,
             "verdict": f"{line.standing}: {line.why}" if line.why else line.standing}
        )  # fmt: skip
    return found


def as_csv(given: Sequence[Mapping[str, Any]], knobs: Sequence[str]) -> str:
    """results.csv: the knobs behind the configuration's name."""
    text = io.StringIO()
    names = [COLUMNS[0], *knobs, *COLUMNS[1:]]
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in names} for row in given)
    return text.getvalue()


def as_markdown(given: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The table of the report."""
    yield (
        "| configuration | key change | ROUGE-1 | ROUGE-2 | ROUGE-L | words | length | bits per byte | "
        "loss | s | verdict |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for row in given:
        numbers = [
            _number(row.get(name), digits)
            for name, digits in (
                ("rouge1", 4), ("rouge2", 4), ("rougeL", 4), ("words", 1), ("length_ratio", 2),
                ("bits_per_byte", 4), ("loss", 4), ("seconds", 1),
            )
        ]  # fmt: skip
        told = row.get("told") or "as the recipe"
        yield f"| {row['configuration']} | {told} | {' | '.join(numbers)} | {row['verdict']} |"


def live(state: State) -> Iterator[str]:
    """What `status` shows."""
    yield f"{state.id}: {state.phase}"
    yield f"{'':<9}{'step':>11}  {'bits/byte':>9}  {'loss':>8}  {'s':>7}  {'standing':<14}"
    ordered = sorted(state.lines, key=lambda line: (line.bits_per_byte is None, line.bits_per_byte))
    for line in ordered:
        steps = f"{line.step}/{line.steps}" if line.steps else "-"
        yield (
            f"{line.name:<9}{steps:>11}  {_number(line.bits_per_byte, 4):>9}  {_number(line.loss, 4):>8}  "
            f"{line.seconds:>7.1f}  {line.standing:<14}{line.told}" + (f" ({line.why})" if line.why else "")
        )


def _row(one: Outcome, decision: Decision, knobs: Sequence[str]) -> dict[str, Any]:
    numbers = one.numbers
    row: dict[str, Any] = {
        "configuration": one.name,
        "standing": "baseline" if one.baseline else "finished",
        "steps": one.steps,
        "dev_bits_per_byte": one.dev,
        "loss": one.loss,
        "seconds": one.seconds,
        "told": ", ".join(f"{key} {shown(value)}" for key, value in one.changes.items()),
        **{name: numbers[name] for name in COLUMNS if name in numbers},
        **{knob: shown(one.changes[knob]) for knob in knobs if knob in one.changes},
        "verdict": "untaught" if one.baseline else decision.verdict(one.name),
    }
    if difference := decision.differences.get(one.name):
        row |= {"difference": difference.value, "low": difference.low, "high": difference.high}
    return row


def _cell(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
