"""Results -> evidence -> the gate's verdict, written, and laid where promote looks for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backtalk.errors import WordsError
from backtalk.files import write_text
from backtalk.home import home
from training.evaluation import compare
from training.evaluation.compare import Pair
from training.evaluation.intervals import Interval
from training.evaluation.items import EARLIER, GENERAL, PRIMARY, TASK
from training.evaluation.results import Results
from training.evaluation.scores import BITS, RIGHT
from training.evaluation.subject import Subject
from training.gate import NAME as VERDICT
from training.gate import Evidence, decide, quantized_file, write_verdict

WORDS = {
    "right": "share right",
    "exact": "share exact",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    BITS: "bits per byte saved",
}


def judge(folder: Path, results: Results) -> dict[str, Any]:
    """Writes verdict.json into `folder`; what the card tells of it."""
    model, baseline = results.subjects["model"], results.subjects["baseline"]
    verdict = decide(evidence(results))
    compared = {"evaluation": folder.name, "model": model.name, "baseline": baseline.name}
    write_verdict(folder / VERDICT, verdict, model.gguf.sha256 if model.gguf else "", **compared)
    return {"verdict": verdict.word, "why": verdict.why, "more_items": verdict.more_items, **compared}


def deliver(folder: Path, subject: Subject) -> None:
    """Lays the verdict beside the file where that lies in an export: there promote looks for it."""
    model = subject.gguf
    if model and (folder / VERDICT).is_file() and model.path.resolve().is_relative_to(home() / "exports"):
        write_text(model.path.parent / VERDICT, (folder / VERDICT).read_text(encoding="utf-8"))


def evidence(results: Results) -> Evidence:
    """What the gate decides on: the results under the first prompt.

    Raises WordsError where the metric was not measured on both sides.
    """
    prompt = results.order.prompts[0]
    primary = results.pairs(prompt, PRIMARY)
    metric = results.order.metric or _usual_metric(primary)
    found = compare.gain(primary, metric)
    if found is None:
        raise WordsError(
            f"{WORDS[metric]} was not measured on the primary set by both models. Choose another --metric."
        )
    return Evidence(
        primary=found,
        metric=WORDS[metric],
        task=_gain(results.pairs(prompt, TASK)),
        earlier=_gain(results.pairs(prompt, EARLIER)),
        general=compare.relative_bits(results.pairs(prompt, GENERAL)),
        primary_is_task=not any(after.item.flagged for _, after in primary),
        quantized=quantized_file(results.subjects["model"].gguf),
        in_points=metric != BITS,
    )


def _gain(pairs: Sequence[Pair]) -> Interval | None:
    return compare.gain(pairs, _usual_metric(pairs))


def _usual_metric(pairs: Sequence[Pair]) -> str:
    return RIGHT if any(after.item.checked for _, after in pairs) else "rougeL"
