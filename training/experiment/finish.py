"""The end of an experiment: the test rows, once; the decision; the table, the picture, the report, the card.

An experiment that is finished goes on where somebody asked for something since: a clone, a resume.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.card import Card, read_card, write_card
from backtalk.config import to_plain
from backtalk.files import write_jsonl, write_text
from training.experiment import chart, table
from training.experiment.control import history, waiting
from training.experiment.decide import Outcome, decide
from training.experiment.effects import effects, suggestions
from training.experiment.engine import Engine
from training.experiment.entrant import Entrant
from training.experiment.prepare import Prepared, varied
from training.experiment.reporting import Findings, conclusion, report
from training.experiment.state import Line
from training.run import LIBRARIES


def is_finished(folder: Path) -> bool:
    """Whether there is nothing to do; where something was asked since, the card goes."""
    if waiting(folder):
        (folder / CARD).unlink(missing_ok=True)
    return (folder / CARD).exists()


def finish(engine: Engine, told: Sequence[str]) -> None:
    """Leaves everything in the experiment's folder, the card last."""
    engine.tell("testing")
    outcomes = [*_baselines(engine), *_taught(engine)]
    folder, knobs = engine.folder, varied(engine.asked, [one.prepared for one in engine.entrants])
    _write_items(engine)
    if not any(not one.baseline for one in outcomes):
        raise _nothing_finished(engine)
    decision = decide(outcomes)
    left = [_line(engine, one) for one in engine.entrants if not one.finished]
    rows = table.rows(outcomes, left, decision, knobs)
    chosen = next(one for one in engine.entrants if one.name == decision.chosen.name)
    findings = Findings(
        folder.name, told, outcomes, decision, rows, effects(outcomes, knobs), history(folder),
        suggestions(decision, outcomes, knobs, engine.points.of(chosen.name)),
        len(next(iter(engine.judge.split.dev.values()))), len(next(iter(engine.judge.split.test.values()))),
        len({one.prepared.order for one in engine.entrants}) == 1, engine.first_comparison,
        _adapter_values(chosen),
    )  # fmt: skip
    write_text(folder / "results.csv", table.as_csv(rows, knobs))
    chart.draw_comparison(outcomes, decision, engine.points, folder / "comparison.png", folder.name)
    write_text(folder / "EXPERIMENT_REPORT.md", report(findings))
    write_text(folder / "results.txt", "".join(f"{line}\n" for line in _short(rows, conclusion(decision))))
    engine.tell("finished", conclusion=conclusion(decision))
    _write_card(engine, rows, decision.chosen.name, conclusion(decision))


def _short(rows: Sequence[dict[str, Any]], said: str) -> list[str]:
    """What the terminal shows at the end."""
    lines = [f"{'':<8}{'bits/byte':>10}{'ROUGE-L':>9}{'loss':>9}{'s':>8}  verdict"]
    for row in rows:
        numbers = [row.get(name) for name in ("bits_per_byte", "rougeL", "loss", "seconds")]
        cells = [
            f"{'-' if value is None else f'{value:.{digits}f}':>{width}}"
            for value, digits, width in zip(numbers, (4, 4, 4, 1), (10, 9, 9, 8), strict=True)
        ]
        lines.append(f"{row['configuration']:<8}{''.join(cells)}  {row['verdict']}; {row.get('told', '')}")
    return [*lines, said]


def _taught(engine: Engine) -> list[Outcome]:
    found = []
    for entrant in engine.entrants:
        point = engine.points.last(entrant.name)
        if entrant.finished and point:
            prepared = entrant.prepared
            scored = _examined(engine, entrant.name, prepared, engine.judge.taught)
            card = read_card(prepared.ready.folder)
            found.append(
                Outcome(
                    entrant.name, effective(engine, prepared), point.bits_per_byte, scored,
                    prepared.ready.steps, point.seconds, float(card.metrics["loss_of_last_tenth"]),
                    reading=prepared.reading,
                )
            )  # fmt: skip
    return found


def _baselines(engine: Engine) -> list[Outcome]:
    found = []
    for (name, told), prepared in zip(engine.baselines(), engine.readings(), strict=False):
        point = engine.points.at(name, 0)
        scored = _examined(engine, name, prepared, engine.judge.view)
        assert point
        found.append(
            Outcome(name, {"base": told}, point.bits_per_byte, scored, 0, 0.0, None, True, prepared.reading)
        )
    return found


def _examined(engine: Engine, name: str, prepared: Prepared, load: Callable[[Prepared], Any]) -> list[Any]:
    engine.judge.examine(name, prepared, lambda: load(prepared), engine.progress.report)
    return engine.judge.scores(name, prepared)


def effective(engine: Engine, prepared: Prepared) -> dict[str, Any]:
    """What a configuration has at each knob that varies, whether it was said or is the recipe's."""
    plain = to_plain(prepared.recipe)
    found = {}
    for knob in varied(engine.asked, [one.prepared for one in engine.entrants]):
        value: Any = plain
        for key in knob.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        found[knob] = prepared.configuration.changes.get(knob) if value is None else value
    return {key: value for key, value in found.items() if value is not None}


def _line(engine: Engine, entrant: Entrant) -> Line:
    point = engine.points.last(entrant.name)
    return entrant.line(point.bits_per_byte if point else None, point.seconds if point else 0.0)


def _adapter_values(entrant: Entrant) -> int:
    from safetensors import safe_open

    with safe_open(entrant.prepared.ready.folder / "adapter_model.safetensors", "pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118


def _write_items(engine: Engine) -> None:
    """items.jsonl: the rows of both sides, as the first reading shows them."""
    write_jsonl(
        engine.folder / "items.jsonl",
        (
            {"side": side, "id": item.id, "cluster": item.cluster, "messages": list(item.messages),
             "reference": item.reference, "bytes": len(item.reference.encode())}
            for side, readings in (("dev", engine.judge.split.dev), ("test", engine.judge.split.test))
            for item in next(iter(readings.values()))
        ),
    )  # fmt: skip


def _write_card(engine: Engine, rows: Sequence[dict[str, Any]], chosen: str, said: str) -> None:
    inputs = [entry for one in engine.entrants for entry in one.prepared.ready.inputs]
    card = Card(
        "experiment",
        engine.folder.name,
        inputs=[entry for place, entry in enumerate(inputs) if entry not in inputs[:place]],
        recipe={**engine.asked.plain, "experiment": to_plain(engine.asked.search)},
        metrics={
            "configurations": list(rows), "chosen": chosen, "conclusion": said,
            "first_comparison_seconds": engine.first_comparison,
        },
    )  # fmt: skip
    write_card(engine.folder, card, (*LIBRARIES, "rouge-score", "numpy"))


def _nothing_finished(engine: Engine) -> Exception:
    from backtalk.errors import BacktalkError

    told = "; ".join(f"{one.name} {one.standing}: {one.why}" for one in engine.entrants)
    return BacktalkError(f"No configuration of {engine.folder.name} is finished ({told}).")
