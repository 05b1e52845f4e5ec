"""`backtalk evaluate`: how good a model is, and with a baseline, whether it may be promoted.

Exit code 0: measured, and where there was a baseline, PROMOTE; 3: HOLD or REJECT.
"""

from pathlib import Path

from backtalk.progress import Progress
from backtalk.verb import Parser, report_json
from training.evaluation.items import PARTS
from training.evaluation.order import Order
from training.evaluation.run import evaluate
from training.evaluation.scores import METRICS
from training.evaluation.table import table
from training.gate import PROMOTE

GATE_SAID_NO = 3


def main(argv: list[str]) -> int:
    """`backtalk evaluate`."""
    order, as_json = _order(argv)
    progress = Progress()
    folder, card = evaluate(order, progress.report)
    progress.done(f"evaluate: {folder}")
    print(table(card))
    if as_json:
        report_json({"folder": str(folder), "metrics": card.metrics, "verdicts": card.verdicts})
    passed = all(verdict["verdict"] == PROMOTE for verdict in card.verdicts)
    return 0 if passed else GATE_SAID_NO


def _order(argv: list[str]) -> tuple[Order, bool]:
    parser = Parser(
        "evaluate",
        "How good a model is: ROUGE, items right, length, bits per byte; with a baseline the differences\n"
        "with 95 % intervals, a page of what changed, and the verdict PROMOTE, HOLD or REJECT (exit code 3).",
        example=(
            "backtalk evaluate mini --data training/mini/evaluation/facts.jsonl\n"
            "backtalk evaluate exports/ID/round1-Q8_0.gguf --baseline promoted \\\n"
            "  --data curated/ID/eval.jsonl --task tasks.jsonl --general general.jsonl"
        ),
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a GGUF or its REF, a Hugging Face folder, a run, http://host/v1[#name]",
    )
    parser.add_argument(
        "--baseline", default="", metavar="MODEL", help="compare with it; `base`: what MODEL was trained from"
    )
    helps = {
        "data": "the primary set: what the model is to be better at",
        "task": "the task test: not a point worse",
        "earlier": "items of earlier rounds: not a point worse",
        "general": "general text: bits per byte not 2 %% worse",
    }
    for name, text in helps.items():
        parser.add_argument(
            f"--{name}", nargs="+", type=Path, default=[], required=name == "data", metavar="FILE", help=text
        )
    parser.add_argument(
        "--prompt", nargs="+", default=[""], metavar="NAME", help="prompt variants for rows of columns"
    )
    parser.add_argument(
        "--metric", default="", choices=METRICS, help="what decides on the primary set (right, else rougeL)"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=256, metavar="N", help="longest answer in tokens (256)"
    )
    parser.add_argument(
        "--bits",
        default="every",
        choices=("every", "general"),
        help="measure bits per byte of every reference, or of general text alone, which takes half the time",
    )
    parser.add_json()
    args = parser.parse_args(argv)
    if args.max_tokens < 1:
        parser.error(f"--max-tokens should be 1 or more, but {args.max_tokens} was found")
    files = zip(PARTS, (args.data, args.task, args.earlier, args.general), strict=True)
    order = Order(
        args.model,
        {part: tuple(paths) for part, paths in files if paths},
        args.baseline,
        tuple(args.prompt),
        args.metric,
        args.max_tokens,
        args.bits,
    )
    return order, args.json
