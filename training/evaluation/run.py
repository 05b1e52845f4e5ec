"""One evaluation from its order to a finished folder: ask, read, score, compare, judge, write.

    folder, card = evaluate(Order(model="runs/0123", baseline="mini", files={"primary": (path,)}))

`evaluations/ID/` holds items.jsonl, with a baseline also side_by_side.html and verdict.json, and last
card.json. ID follows from the order and from the content of models and files, so the same order finds what
is there; while it runs, answers are kept in `ID.parts/` and nothing is asked twice. What a file answered to
questions that no flag made is known in the next evaluation too.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.card import Card, read_card, write_card
from backtalk.files import write_jsonl, write_text
from backtalk.home import home
from training.evaluation import compare, page
from training.evaluation.items import PARTS, Item, read_items
from training.evaluation.judge import deliver, judge
from training.evaluation.kept import Kept, key
from training.evaluation.known import Known
from training.evaluation.order import Order, check_metric, identity_of, inputs_of, variant_of
from training.evaluation.results import Results
from training.evaluation.scores import Scored, is_asked, score
from training.evaluation.subject import Subject, open_baseline, open_subject

ITEMS, PAGE = "items.jsonl", "side_by_side.html"
LIBRARIES = ("rouge-score", "numpy", "llama-cpp-python", "torch", "transformers", "peft")
Report = Callable[[str], None]


def evaluate(order: Order, report: Report = lambda _: None) -> tuple[Path, Card]:
    """The finished folder and its card. Raises one sentence where a model, a file or a row is at fault."""
    items = {name: read_items(order.files, variant_of(name)) for name in order.prompts}
    check_metric(order, items[order.prompts[0]])
    subjects = _open(order, report)
    try:
        inputs = inputs_of(order, subjects)
        folder = home() / "evaluations" / identity_of(order, inputs, subjects["model"])
        if not _is_finished(folder, inputs):
            scored = {
                (role, name): _measure(
                    subject, items[name], order, name, _parts(folder) / _file(role, name), report
                )
                for role, subject in subjects.items()
                for name in order.prompts
            }
            _write(folder, Results(order, subjects, scored), inputs)
        deliver(folder, subjects["model"])
        return folder, read_card(folder)
    finally:
        for subject in subjects.values():
            subject.close()


def _open(order: Order, report: Report) -> dict[str, Subject]:
    report(f"evaluate: loading {order.model}")
    subjects = {"model": open_subject(order.model)}
    if order.baseline:
        report(f"evaluate: loading {order.baseline}")
        subjects["baseline"] = open_baseline(order.baseline, order.model)
    return subjects


def _is_finished(folder: Path, inputs: Sequence[dict[str, Any]]) -> bool:
    """What stands behind an address may have changed since, so that is always asked anew."""
    return (folder / CARD).is_file() and not any("endpoint" in entry for entry in inputs)


def _measure(
    subject: Subject, items: Sequence[Item], order: Order, prompt: str, file: Path, report: Report
) -> list[Scored]:
    """One model under one prompt: answers and bits of all items, in their order."""
    known = Known(subject.gguf, variant_of(prompt), order.max_tokens)
    to_ask, to_read = list(filter(is_asked, items)), list(filter(order.reads, items))
    with closing(Kept(file)) as kept:
        known.recall(to_ask, to_read, kept)
        try:
            asked = kept.unanswered(to_ask)
            for done, (item, answer) in enumerate(subject.ask(asked, order.max_tokens), 1):
                kept.keep_answer(item, answer)
                report(f"evaluate: {subject.name} answered {done:,} of {len(asked):,}")
            texts = kept.unread(to_read)
            for done, (item, bits) in enumerate(subject.read(texts), 1):
                kept.keep_bits(item, bits)
                report(f"evaluate: {subject.name} read {done:,} of {len(texts):,}")
        finally:
            known.remember(items, kept)  # of an evaluation that was interrupted too
        return [score(item, kept.answers.get(key(item)), kept.bits.get(key(item))) for item in items]


def _write(folder: Path, results: Results, inputs: list[dict[str, Any]]) -> None:
    order = results.order
    (folder / CARD).unlink(missing_ok=True)
    write_jsonl(folder / ITEMS, results.rows())
    verdicts = []
    if order.baseline:
        write_text(folder / PAGE, _page(results))
        verdicts.append(judge(folder, results))
    card = Card(
        "evaluation",
        folder.name,
        inputs=inputs,
        recipe=order.as_recipe(),
        metrics=results.metrics(),
        verdicts=verdicts,
    )
    write_card(folder, card, LIBRARIES)
    shutil.rmtree(_parts(folder), ignore_errors=True)


def _page(results: Results) -> str:
    first = results.order.prompts[0]
    pairs = [pair for part in PARTS for pair in results.pairs(first, part)]
    asked = sum(pair[1].answer is not None for pair in pairs)
    names = (f"{role}: {results.subjects[role].name}" for role in ("baseline", "model"))
    return page.page(compare.most_changed(pairs, page.MOST), asked, *names)


def _parts(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.parts")


def _file(role: str, prompt: str) -> str:
    return f"{role}-{prompt or 'as-it-is'}.jsonl"
