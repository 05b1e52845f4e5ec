"""`backtalk mini evaluate`: the bundled model's table of accuracies, from the GGUF as it is served, greedy.

The items are the committed ones in training/mini/evaluation: sentences that training never sees. Six rows
have a bound; a missed one makes the exit code 1. The others are told for honesty. Nothing is written unless
asked for.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from backtalk.files import read_jsonl, write_jsonl
from backtalk.models import resolve
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json
from training.evaluation.items import TASK, Item
from training.evaluation.served import Served
from training.mini.places import EVALUATION
from training.mini.questions import EvaluationItem, is_right

LONGEST_ANSWER = 128  # tokens; the longest right answer has about 70


@dataclass(frozen=True)
class Row:
    """One row of the table. `bound` is the least share of right answers; 0 where none is promised."""

    name: str
    title: str
    bound: float = 0.0
    told_as_wrong: bool = False
    """True where the share of wrong answers is what the row tells."""


ROWS = (
    Row("facts", "current facts exactly right", 0.95),
    Row("history", "follow-ups right with history", 0.90),
    Row("no_history", "the same without history: asks", 0.95),
    Row("copy", "unseen order numbers copied", 0.95),
    Row("outside", "questions outside the shop recognised", 0.90),
    Row("inside_refused", "questions inside the shop refused", 0.98, told_as_wrong=True),
    Row("outdated", "outdated facts right: the loop's work"),
    Row("unknown", "no answer known yet: says so"),
    Row("intents", "what customers want done"),
    Row("vague", "vague requests: asks back"),
    Row("small_talk", "small talk"),
    Row("summaries", "summaries"),
    Row("system", "system prompts honoured"),
    Row("habits", "planted habits cured: the loop's work"),
)


@dataclass(frozen=True)
class Result:
    """How a row came out."""

    row: Row
    n: int
    right: int

    @property
    def share(self) -> float:
        return self.right / self.n

    @property
    def holds(self) -> bool | None:
        """None where nothing is promised."""
        return self.share >= self.row.bound if self.row.bound else None

    def line(self) -> str:
        """The row as the table shows it."""
        share, bound, sign = self.share, self.row.bound, ">="
        if self.row.told_as_wrong:
            share, bound, sign = 1 - share, 1 - bound, "<="
        promise = f"{sign} {bound:.0%}" if self.row.bound else ""
        verdict = {True: "yes", False: "NO", None: ""}[self.holds]
        return f"{self.row.title:<42}{self.n:>6}{share:>9.1%}{promise:>9}  {verdict}".rstrip()

    def as_json(self) -> dict[str, Any]:
        """The row as cards and `--json` tell it."""
        share = 1 - self.share if self.row.told_as_wrong else self.share
        bound = 1 - self.row.bound if self.row.told_as_wrong else self.row.bound
        return {
            "name": self.row.name,
            "title": self.row.title,
            "n": self.n,
            "value": round(share, 4),
            "bound": round(bound, 4) if self.row.bound else None,
            "holds": self.holds,
        }


def evaluate(
    ref: str, items: Sequence[EvaluationItem], progress: Progress
) -> tuple[list[Result], list[dict[str, Any]]]:
    """The table's rows, and every wrong answer."""
    answers: dict[str, str] = {}
    with closing(Served(resolve(ref))) as model:
        for asked, answer in model.ask([_as_item(item) for item in items], LONGEST_ANSWER):
            answers[asked.id] = answer.text
            progress.report(f"mini evaluate: {len(answers):,} of {len(items):,} questions")
    judged = [(item, answers[item.id], is_right(item, answers[item.id])) for item in items]
    results = []
    for row in ROWS:
        mine = [right for item, _, right in judged if item.row == row.name]
        if mine:
            results.append(Result(row, len(mine), sum(mine)))
    wrong = [
        {"id": item.id, "row": item.row, "asked": item.messages[-1]["content"], "answer": answer,
         "reference": item.reference, "messages": list(item.messages)}
        for item, answer, right in judged if not right
    ]  # fmt: skip
    return results, wrong


def _as_item(item: EvaluationItem) -> Item:
    return Item(
        item.id, TASK, item.id, tuple(item.messages), item.reference, tuple(item.must), tuple(item.must_not),
        exact=False, cluster=item.fact or item.id, flagged=False,
    )  # fmt: skip


def read_items() -> list[EvaluationItem]:
    """The committed items, file by file."""
    return [EvaluationItem(**row) for path in sorted(EVALUATION.glob("*.jsonl")) for row in read_jsonl(path)]


def table(results: Iterable[Result]) -> str:
    """The table as text."""
    head = f"{'':<42}{'n':>6}{'share':>9}{'bound':>9}  holds"
    return "\n".join([head, *(result.line() for result in results)])


def sample(items: Iterable[EvaluationItem], most: int) -> list[EvaluationItem]:
    """At most so many items of each row, evenly taken; 0 takes all."""
    chosen: list[EvaluationItem] = []
    for _, group in groupby(sorted(items, key=attrgetter("row")), key=attrgetter("row")):
        row = list(group)
        step = max(1, -(-len(row) // most)) if most else 1
        chosen += row[::step]
    return chosen


def main(argv: list[str]) -> int:
    """`backtalk mini evaluate`."""
    parser = Parser(
        "mini evaluate",
        "The bundled model's table of accuracies on sentences that its training never saw.",
        example="backtalk mini evaluate\nbacktalk mini evaluate --model other.gguf --sample 50",
    )
    parser.add_argument("--model", default="mini", metavar="REF", help="which model (mini)")
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="at most N items of each row (all)"
    )
    parser.add_argument("--wrong", type=Path, metavar="FILE", help="write every wrong answer to FILE")
    parser.add_json()
    args = parser.parse_args(argv)

    progress = Progress()
    items = sample(read_items(), args.sample)
    results, wrong = evaluate(args.model, items, progress)
    progress.done(f"mini evaluate: {len(items):,} questions")
    print(table(results))
    if args.wrong:
        write_jsonl(args.wrong, wrong)
    held = all(result.holds is not False for result in results)
    if args.json:
        report_json({"model": args.model, "rows": [result.as_json() for result in results], "holds": held})
    return 0 if held else 1
