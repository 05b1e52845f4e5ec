"""One evaluation from its order to a finished folder: ask, read, score, compare, judge, write.

    folder, card = evaluate(Order(model="runs/0123", baseline="mini", files={"primary": (path,)}))

`evaluations/ID/` holds items.jsonl, with a baseline also side_by_side.html and verdict.json, and last
card.json. ID follows from the order and from the content of models and files, so the same order finds what
is there; while it runs, answers are kept in `ID.parts/` and nothing is asked twice.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.card import Card, read_card, write_card
from backtalk.errors import WordsError
from backtalk.files import canonical_json, sha256_of, write_jsonl, write_text
from backtalk.home import home
from training.data.variant import find_variant
from training.evaluation import compare, page
from training.evaluation.compare import Pair
from training.evaluation.items import EARLIER, GENERAL, PARTS, PRIMARY, TASK, Item, read_items
from training.evaluation.kept import Kept, key
from training.evaluation.scores import BITS, METRICS, RIGHT, Scored, is_asked, score, summary
from training.evaluation.scores import as_json as scored_json
from training.evaluation.subject import Subject, open_baseline, open_subject
from training.gate import NAME as VERDICT
from training.gate import Evidence, decide, quantized_file, write_verdict

ITEMS, PAGE = "items.jsonl", "side_by_side.html"
LIBRARIES = ("rouge-score", "numpy", "llama-cpp-python", "torch", "transformers", "peft")
WORDS = {
    "right": "share right",
    "exact": "share exact",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    BITS: "bits per byte saved",
}
Report = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What is to be evaluated, on what, against what."""

    model: str
    files: Mapping[str, tuple[Path, ...]]
    """By part: primary, task, earlier, general."""
    baseline: str = ""
    prompts: tuple[str, ...] = ("",)
    """Names of prompt variants; empty: rows are questions already. The gate judges the first."""
    metric: str = ""
    """What decides on the primary set; empty: `right` where items define it, else ROUGE-L."""
    max_tokens: int = 256


@dataclass(frozen=True)
class Results:
    """Everything scored, by role ("model", "baseline") and prompt."""

    scored: Mapping[tuple[str, str], Sequence[Scored]]
    subjects: Mapping[str, Subject]

    def part(self, role: str, prompt: str, part: str) -> list[Scored]:
        return [one for one in self.scored[role, prompt] if one.item.part == part]

    def pairs(self, prompt: str, part: str) -> list[Pair]:
        """The baseline's and the model's results on the items of a part."""
        before, after = (self.part(role, prompt, part) for role in ("baseline", "model"))
        return list(zip(before, after, strict=True))


def evaluate(order: Order, report: Report = lambda _: None) -> tuple[Path, Card]:
    """The finished folder and its card. Raises one sentence where a model, a file or a row is at fault."""
    items = {name: read_items(order.files, _variant(name)) for name in order.prompts}
    _check_metric(order, items[order.prompts[0]])
    report(f"evaluate: loading {order.model}")
    subjects = {"model": open_subject(order.model)}
    if order.baseline:
        report(f"evaluate: loading {order.baseline}")
        subjects["baseline"] = open_baseline(order.baseline, order.model)
    try:
        inputs = _inputs(order, subjects)
        folder = home() / "evaluations" / _identity(order, inputs)
        if (folder / CARD).is_file():
            return folder, read_card(folder)
        scored = {
            (role, name): _measure(subject, role, name, items[name], order, folder, report)
            for role, subject in subjects.items()
            for name in order.prompts
        }
        return folder, _write(folder, order, Results(scored, subjects), inputs)
    finally:
        for subject in subjects.values():
            subject.close()


def _measure(
    subject: Subject,
    role: str,
    prompt: str,
    items: Sequence[Item],
    order: Order,
    folder: Path,
    report: Report,
) -> list[Scored]:
    """One model under one prompt: answers and bits of all items, in their order."""
    with closing(Kept(_parts(folder) / f"{role}-{prompt or 'as-it-is'}.jsonl")) as kept:
        asked = kept.unanswered(item for item in items if is_asked(item))
        for done, (item, answer) in enumerate(subject.ask(asked, order.max_tokens), 1):
            kept.keep_answer(item, answer)
            report(f"evaluate: {subject.name} answered {done:,} of {len(asked):,}")
        texts = kept.unread(item for item in items if item.reference)
        for done, (item, bits) in enumerate(subject.read(texts), 1):
            kept.keep_bits(item, bits)
            report(f"evaluate: {subject.name} read {done:,} of {len(texts):,}")
        return [score(item, kept.answers.get(key(item)), kept.bits.get(key(item))) for item in items]


def _write(folder: Path, order: Order, results: Results, inputs: list[dict[str, Any]]) -> Card:
    first = order.prompts[0]
    (folder / CARD).unlink(missing_ok=True)
    write_jsonl(folder / ITEMS, _item_rows(order, results))
    verdicts = []
    if order.baseline:
        names = (f"{role}: {results.subjects[role].name}" for role in ("baseline", "model"))
        pairs = [pair for part in PARTS for pair in results.pairs(first, part)]
        asked = sum(pair[1].answer is not None for pair in pairs)
        write_text(folder / PAGE, page.page(compare.most_changed(pairs, page.MOST), asked, *names))
        verdicts.append(_judge(folder, order, results))
    card = Card(
        "evaluation",
        folder.name,
        inputs=inputs,
        recipe=_recipe(order),
        metrics=_metrics(order, results),
        verdicts=verdicts,
    )
    write_card(folder, card, LIBRARIES)
    shutil.rmtree(_parts(folder), ignore_errors=True)
    return card


def _judge(folder: Path, order: Order, results: Results) -> dict[str, Any]:
    """Writes verdict.json here, and beside the file where that lies in an export."""
    model = results.subjects["model"].gguf
    verdict = decide(evidence(order, results))
    compared = {
        "evaluation": folder.name,
        "model": results.subjects["model"].name,
        "baseline": results.subjects["baseline"].name,
    }
    places = [folder]
    if model and model.path.resolve().is_relative_to(home() / "exports"):
        places.append(model.path.parent)
    for place in places:
        write_verdict(place / VERDICT, verdict, model.sha256 if model else "", **compared)
    return {"verdict": verdict.word, "why": verdict.why, "more_items": verdict.more_items, **compared}


def evidence(order: Order, results: Results) -> Evidence:
    """What the gate decides on: the first prompt's results."""
    prompt = order.prompts[0]
    primary = results.pairs(prompt, PRIMARY)
    metric = metric_of(order, [after.item for _, after in primary])
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


def metric_of(order: Order, items: Sequence[Item]) -> str:
    """What decides on some items."""
    return order.metric or (RIGHT if any(item.checked for item in items) else "rougeL")


def _gain(pairs: Sequence[Pair]) -> Any:
    metric = RIGHT if any(after.item.checked for _, after in pairs) else "rougeL"
    return compare.gain(pairs, metric)


def _metrics(order: Order, results: Results) -> dict[str, Any]:
    """The numbers of the card: every model's, and with a baseline the differences."""
    parts = [part for part in PARTS if order.files.get(part)]
    models = [
        {"role": role, "name": results.subjects[role].name, "prompt": prompt, "part": part}
        | summary(results.part(role, prompt, part))
        for part in parts
        for prompt in order.prompts
        for role in results.subjects
    ]
    numbers: dict[str, Any] = {"models": models}
    if order.baseline:
        places = [(prompt, part, results.pairs(prompt, part)) for part in parts for prompt in order.prompts]
        numbers["differences"] = [
            {"prompt": prompt, "part": part, "metric": metric} | compare.as_json(found)
            for prompt, part, pairs in places
            for metric, found in compare.differences(pairs).items()
        ]
        numbers["changes"] = [
            {"prompt": prompt, "part": part} | compare.changes(pairs)
            for prompt, part, pairs in places
            if any(compare.change(pair) for pair in pairs)
        ]
    return numbers


def _item_rows(order: Order, results: Results) -> Iterator[dict[str, Any]]:
    for prompt in order.prompts:
        for place, one in enumerate(results.scored["model", prompt]):
            item = one.item
            row: dict[str, Any] = {
                "id": item.id,
                "part": item.part,
                "prompt": prompt,
                "cluster": item.cluster,
                "messages": list(item.messages),
                "reference": item.reference,
                "must": list(item.must),
                "must_not": list(item.must_not),
                "model": scored_json(one),
            }
            if order.baseline:
                before = results.scored["baseline", prompt][place]
                row |= {"baseline": scored_json(before), "change": compare.change((before, one))}
            yield row


def _recipe(order: Order) -> dict[str, Any]:
    return asdict(order) | {
        "files": {part: [str(path) for path in paths] for part, paths in order.files.items()},
        "prompts": list(order.prompts),
        "decoding": "greedy",
        "rouge": "rouge_score, use_stemmer=True, F1",
    }


def _inputs(order: Order, subjects: Mapping[str, Subject]) -> list[dict[str, Any]]:
    models = [
        entry if role == "model" else {**entry, "role": "baseline"}
        for role, subject in subjects.items()
        for entry in subject.inputs
    ]
    data = [
        {
            "role": f"data: {part}",
            "folder": str(path.parent),
            "path": path.name,
            "sha256": sha256_of(path),
            "bytes": path.stat().st_size,
        }
        for part, paths in order.files.items()
        for path in paths
    ]
    return models + data


def _identity(order: Order, inputs: Sequence[Mapping[str, Any]]) -> str:
    """A name that follows from everything that decides over the results."""
    prompts = [[name, variant.source if (variant := _variant(name)) else ""] for name in order.prompts]
    contents = [[entry["role"], entry["path"], entry["sha256"]] for entry in inputs if "sha256" in entry]
    addresses = [[entry["endpoint"], entry["name"]] for entry in inputs if "endpoint" in entry]
    whole = [contents, addresses, prompts, order.metric, order.max_tokens]
    return sha256(canonical_json(whole)).hexdigest()[:12]


def _check_metric(order: Order, items: Sequence[Item]) -> None:
    primary = [item for item in items if item.part == PRIMARY]
    if not any(is_asked(item) for item in primary) and order.metric != BITS:
        raise WordsError(
            "The files of --data hold plain text and nothing to answer. Give texts with --general, "
            "or decide by bits per byte: --metric bits_per_byte."
        )
    lacking = {
        RIGHT: not any(item.checked for item in primary),
        "exact": not any(item.exact for item in primary),
    }.get(order.metric, order.metric in METRICS and not any(item.reference for item in primary))
    if lacking:
        raise WordsError(
            f"No item of --data defines the metric '{order.metric}'. 'right' wants must or must_not, "
            "'exact' wants exact: true, everything else a reference."
        )


def _variant(name: str) -> Any:
    return find_variant(name, {}) if name else None


def _parts(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.parts")
