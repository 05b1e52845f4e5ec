"""A source, opened: its rows as Examples, what could not be used, and what the card says of it.

opened = open_source(source, data, form="sft", offline=False)
opened.examples, opened.counts, opened.inputs, opened.notes
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.files import read_jsonl, sha256_of
from training.data.example import Example, Fault, Row
from training.data.fetch import fetch_rows, pin
from training.data.locate import Place, curated_file, locate
from training.data.read import read_rows
from training.data.recipe import Data, Form, Source
from training.data.standardise import Standard, parts
from training.data.variant import Variant, find_variant

WINDOW = 10  # rows of a stream that are read for each one wanted: filters and the draw need a choice
SMALLEST_WINDOW = 1000
MOST_NUMBERS = 10  # of rows, in one sentence


@dataclass
class Opened:
    """One source in memory. `held_out`: prompts of a curated set's own evaluation, never to be learned."""

    source: Source
    examples: list[Example] = field(default_factory=list)
    evaluation: list[Example] = field(default_factory=list)
    held_out: list[tuple[str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    divided: bool = False  # a curated set holds its evaluation out by itself


def open_source(source: Source, data: Data, form: Form, offline: bool, evaluates: bool = False) -> Opened:
    """Reads a source. Raises one sentence, with the numbers of the rows at fault, where it cannot be used."""
    place = locate(source, offline)
    opened = Opened(source, notes=[place.note] if place.note else [])
    if place.curated:
        _open_curated(place.curated, opened, form, evaluates)
        return opened
    rows, faults = _read(_rows(place, opened), opened)
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    variant = find_variant(place.prompt, data.prompts) if place.prompt else None
    if variant:
        variant.check(dict.fromkeys(columns), source.label)
    for knob, name in (("group", source.group), ("stratify", source.stratify)):
        if name and name not in columns:
            raise BacktalkError(
                f"{source.label} has no column '{name}' ('{knob}'); it has {', '.join(columns)}."
            )
    found = parts(place.columns, columns, form, source.label, bool(variant))
    if not found and evaluates:  # nothing to compare on by this method, and yet nothing to be learned
        _only_hold_out(rows, place.columns, columns, variant, opened)
    if not found:
        opened.notes.append(f"{source.label} has nothing for {form.upper()}, and is left out of it")
        return opened
    standard = Standard(source.label, found, form, variant, source.group, place.stratify)
    opened.examples = _examples(rows, faults, standard, opened, data.faulty)
    return opened


def _only_hold_out(
    rows: list[Row], given: dict[str, str], columns: list[str], variant: Variant | None, opened: Opened
) -> None:
    """Keeps the prompts of an evaluation apart, in a step of a chain that cannot measure it."""
    label = opened.source.label
    found = parts(given, columns, "sft", label, bool(variant))
    read = [Standard(label, found, "sft", variant).example(row) for row in rows] if found else []
    opened.held_out = [(one.place, asked) for one in read if isinstance(one, Example) for asked in one.asked]


def _open_curated(folder: Path, opened: Opened, form: Form, evaluates: bool) -> None:
    """The set's file for this form; its evaluation items are kept apart, whichever rows are learned."""
    opened.divided = True
    label = opened.source.label
    items = curated_file(folder, "eval")
    if items:
        opened.held_out = [
            (f"{label}, evaluation item {item['id']}", _spoken(item)) for item in read_jsonl(items)
        ]
        opened.inputs.append(_file(items, len(opened.held_out)))
        if form == "sft" and opened.source.only != "replayed":  # the same set's other source brings them
            opened.evaluation = list(_known_answers(items, label))
    if evaluates:
        opened.examples, opened.evaluation = opened.evaluation, []
        opened.counts["read"] = len(opened.held_out)
        return
    praised = form == "kto" and opened.source.only == "replayed"  # what was right before is a good answer
    file: Form = "sft" if praised else form
    path = curated_file(folder, file)
    if path is None or not path.stat().st_size:
        opened.notes.append(f"{label} has no rows for {form.upper()}")
        return
    rows, faults = _read(read_rows(path), opened)
    opened.inputs.append(_file(path, len(rows)))
    if opened.source.only:
        taught = _taught_rows(folder, file)
        rows = [row for row in rows if (row.values["id"] in taught) == (opened.source.only == "taught")]
    if praised:
        rows = [Row(row.number, {**row.values, "label": True}) for row in rows]
    if not rows and not faults:
        opened.notes.append(f"{label} has no {opened.source.only} rows for {form.upper()}")
        return
    given = {"sft": ("prompt", "completion"), "kto": ("prompt", "completion", "label")}
    columns = given.get(form, ("prompt", "chosen", "rejected"))
    standard = Standard(label, {name: name for name in columns}, form, curated=True)
    opened.examples = _examples(rows, faults, standard, opened, "stop")


def _taught_rows(folder: Path, form: Form) -> set[str]:
    """Ids of the rows that flags of this set teach. A replayed row may name flags too, of an earlier set."""
    manifest = curated_file(folder, "manifest")
    lines = read_jsonl(manifest) if manifest else ()
    named = {name for line in lines for name in line["rows"]}
    return {name.partition(":")[2] for name in named if name.startswith(f"{form}:")}


def _known_answers(path: Path, label: str) -> Iterator[Example]:
    """The items whose right answer is known, as rows to measure a loss on."""
    for number, item in enumerate(read_jsonl(path), start=1):
        if item["reference"]:
            answer = ({"role": "assistant", "content": item["reference"]},)
            yield Example(
                f"{label} (eval)",
                number,
                tuple(item["prompt"]),
                answer,
                given_id=item["id"],
                group=item["group"],
            )


def _spoken(item: dict[str, Any]) -> str:
    turns = (one for one in item["prompt"] if one["role"] != "system")
    return "\n".join(f"{one['role']}: {one['content']}" for one in turns)


def _rows(place: Place, opened: Opened) -> Iterator[Row | Fault]:
    """The rows of files, numbered through, or of the Hub; what was read is added to the inputs at the end."""
    rows = _of_files(place, opened) if place.files else _of_hub(place, opened)
    if place.source.streaming:
        window = max(SMALLEST_WINDOW, WINDOW * place.source.limit)
        opened.notes.append(f"{place.source.label} is streamed: at most its first {window:,} rows are read")
        rows = islice(rows, window)
    return rows


def _of_files(place: Place, opened: Opened) -> Iterator[Row | Fault]:
    several = len(place.files) > 1
    before = 0
    for path in place.files:
        entry = _file(path, 0)
        opened.inputs.append(entry)
        for row in read_rows(path):
            entry["rows"] += 1
            if several:
                row = _moved(row, before)
            yield row
        before += entry["rows"]


def _moved(row: Row | Fault, by: int) -> Row | Fault:
    """The row with a number that goes on where the file before it ended."""
    return Row(row.number + by, row.values) if isinstance(row, Row) else Fault(row.number + by, row.why)


def _of_hub(place: Place, opened: Opened) -> Iterator[Row | Fault]:
    source = place.source
    revision = pin(place.repo, place.revision)
    entry = {
        "role": "data", "repo": place.repo, "revision": revision, "config": source.config,
        "split": source.split, "rows": 0, "sha256": "",
    }  # fmt: skip
    opened.inputs.append(entry)
    digest = hashlib.sha256()
    for row in fetch_rows(place.repo, revision, source.config, source.split, source.streaming):
        content = row.values if isinstance(row, Row) else row.why
        digest.update(json.dumps(content, sort_keys=True, default=str).encode())
        entry.update(rows=row.number, sha256=digest.hexdigest())  # of the rows that were read
        yield row


def _file(path: Path, rows: int) -> dict[str, Any]:
    return {
        "role": "data", "path": str(path.resolve()), "rows": rows, "sha256": sha256_of(path),
        "bytes": path.stat().st_size,
    }  # fmt: skip


def _read(given: Iterable[Row | Fault], opened: Opened) -> tuple[list[Row], list[Fault]]:
    rows: list[Row] = []
    faults: list[Fault] = []
    for one in given:
        if isinstance(one, Row):
            rows.append(one)
        else:
            faults.append(one)
    opened.counts["read"] = len(rows) + len(faults)
    if not rows and not faults:
        raise BacktalkError(f"{opened.source.label} holds no rows; a dataset with at least one was wanted.")
    if not rows:
        _refuse(opened.source.label, faults)
    return rows, faults


def _examples(
    rows: list[Row], faults: list[Fault], standard: Standard, opened: Opened, faulty: str
) -> list[Example]:
    read = [standard.example(row) for row in rows]
    faults = faults + [one for one in read if isinstance(one, Fault)]
    examples = [one for one in read if isinstance(one, Example)]
    if faults and (faulty == "stop" or not examples):
        _refuse(standard.label, faults)
    opened.removed.update(fault.why for fault in faults)
    opened.counts["trimmed"] = sum(example.trimmed for example in examples)
    if standard.form == "sft":
        opened.removed["labelled_bad"] = sum(example.label is False for example in examples)
        examples = [example for example in examples if example.label is not False]
    return examples


def _refuse(label: str, faults: list[Fault]) -> None:
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for fault in sorted(faults, key=lambda fault: fault.number):
        numbers[fault.why].append(fault.number)
    told = "; ".join(f"{why} in {rows_named(rows)}" for why, rows in numbers.items())
    raise BacktalkError(
        f"{label} cannot be used as it is: {told}. Correct that, or leave such rows out with "
        "data.faulty: leave_out."
    )


def rows_named(numbers: list[int]) -> str:
    """`row 3`, `rows 3, 17 and 204`, and how many more where they are many."""
    if len(numbers) == 1:
        return f"row {numbers[0]:,}"
    shown = [f"{number:,}" for number in numbers[:MOST_NUMBERS]]
    more = len(numbers) - len(shown)
    last = f"{more:,} more" if more else shown.pop()
    return f"rows {', '.join(shown)} and {last}"
