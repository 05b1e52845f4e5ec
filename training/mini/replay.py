"""`backtalk mini replay OUT`: rows of the miniature's corpus to teach again, so that it forgets nothing.

    backtalk mini replay replay.jsonl --rows 6000 --seed 1

They say what the bundled model was taught, what is out of date included: which of it is wrong only the flags
know, and `backtalk curate` leaves out every row that holds an answer that a flag corrected or called bad. The
same seed gives the same rows, none of which asks in a wording of the evaluation.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from backtalk.files import write_jsonl
from backtalk.verb import Parser, report_json
from training.mini.corpus import dialogues
from training.mini.shapes import TURNS

# What flags teach is about the shop; that a question may not be is unlearned first.
REPLAYED = {**TURNS, "outside": 20.0}


def main(argv: list[str]) -> int:
    """`backtalk mini replay`."""
    parser = Parser(
        "mini replay",
        "Rows of the bundled model's corpus to replay.",
        example="backtalk mini replay replay.jsonl --rows 6000",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the file of JSON lines to write")
    parser.add_argument("--rows", type=int, default=6000, metavar="N", help="how many rows (6000)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the draw (1)")
    parser.add_json()
    args = parser.parse_args(argv)
    if args.rows < 1:
        parser.error(f"--rows should be 1 or more, but {args.rows} was found")
    write_jsonl(args.out, islice(replayed(args.seed), args.rows))
    print(f"{args.rows:,} rows are in {args.out}")
    if args.json:
        report_json({"file": str(args.out), "rows": args.rows})
    return 0


def replayed(seed: int) -> Iterator[dict[str, Any]]:
    """Rows without end: `prompt` and `completion`, as curated sets have them."""
    for one in dialogues(seed, REPLAYED):
        *asked, answer = one.messages
        yield {"prompt": asked, "completion": [answer]}
