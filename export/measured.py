"""What was measured of one exported file, as a card's row; and the table of all rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from backtalk.errors import ModelError
from backtalk.files import sha256_of
from export.checks.answers import Item, Score, answers_of_gguf, answers_of_model, score
from export.checks.serving import Serving, measure_serving
from export.verify import Verdict

Row = dict[str, Any]
Report = Callable[[str], None]


@dataclass
class Questions:
    """One's own items, and the model's answers to them, asked for once and for all files."""

    model_dir: Path
    items: Sequence[Item]
    _model: Score | None = field(default=None, init=False)

    def scores(self, gguf: Path, report: Report) -> dict[str, Any]:
        """The file's score beside the model's; empty without items."""
        if not self.items:
            return {}
        answers, prompts = answers_of_gguf(gguf, self.items, report)
        if self._model is None:
            self._model = score(self.items, answers_of_model(self.model_dir, prompts, report))
        return {"answers": asdict(score(self.items, answers)), "model_answers": asdict(self._model)}


def measure(gguf: Path, verdict: Verdict, bf16_bytes: int, questions: Questions, report: Report) -> Row:
    """The row of one file: every number, `passed`, and the names of the bounds that it did not keep."""
    report(f"{gguf.name}: serving")
    failed, serving = list(verdict.failed), None
    try:
        serving = measure_serving(gguf)
    except ModelError:
        failed.append("served")
    size = gguf.stat().st_size
    return {
        "sha256": sha256_of(gguf),
        "bytes": size,
        "reduction_percent": round(100 * (1 - size / bf16_bytes), 1),
        **asdict(verdict),
        "tokens_equal": verdict.probes_equal == verdict.probes,
        **_served(serving),
        **(questions.scores(gguf, report) if serving else {}),
        "passed": not failed,
        "failed": failed,
    }


def _served(serving: Serving | None) -> Mapping[str, Any]:
    return asdict(serving) if serving else {}


def table(rows: Mapping[str, Row]) -> Iterator[str]:
    """A line for each file."""
    yield (
        f"{'type':<8}{'MB':>9}{'saved':>8}{'KL, nats':>10}{'bound':>8}{'top-1':>8}{'perplexity':>12}"
        f"{'read/s':>9}{'write/s':>9}{'memory':>9}  "
    ).rstrip()
    for quant, row in rows.items():
        yield (
            f"{quant:<8}{row['bytes'] / 1e6:>9.2f}{row['reduction_percent']:>7.1f}%{row['divergence']:>10.1e}"
            f"{row['bound']:>8.0e}{row['top_token_equal']:>8.2%}{row['perplexity']:>12.3f}"
            f"{row.get('prompt_tokens_per_second', 0):>9.0f}{row.get('tokens_per_second', 0):>9.0f}"
            f"{row.get('peak_bytes', 0) / 1e6:>9.0f}  {_word(row)}"
        )
    if first := next(iter(rows.values()), None):
        yield from _remarks(first, rows)


def _word(row: Row) -> str:
    return "passed" if row["passed"] else f"FAILED: {', '.join(row['failed'])}"


def _remarks(first: Row, rows: Mapping[str, Row]) -> Iterator[str]:
    yield (
        f"saved: of the weights in bf16. KL over {first['tokens']:,} tokens; the model's own perplexity "
        f"there is {first['model_perplexity']:.3f}. read/s and write/s: tokens a second. memory: MB at most."
    )
    for quant, row in rows.items():
        if "answers" in row:
            ours, models = row["answers"], row["model_answers"]
            yield (
                f"{quant}: {ours['right']} of {ours['items']} items right, ROUGE-L {ours['rouge_l']:.3f}; "
                f"the model {models['right']}, {models['rouge_l']:.3f}"
            )
