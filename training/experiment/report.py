"""`backtalk experiment report ID`: what came out, for the terminal."""

from backtalk.card import read_card
from backtalk.verb import Parser, report_json
from training.experiment.state import find_experiment


def main(argv: list[str]) -> int:
    """`backtalk experiment report`."""
    parser = Parser(
        "experiment report",
        "The report of a finished experiment: setup, table, intervals, what each knob did, what to try next.",
        example="backtalk experiment report samsum_gpt2_prompt_rank_lr-0123abcd",
    )
    parser.add_argument("id", metavar="ID", help="the experiment, or how its name begins")
    parser.add_json()
    args = parser.parse_args(argv)
    folder = find_experiment(args.id)
    card = read_card(folder)
    print((folder / "EXPERIMENT_REPORT.md").read_text(encoding="utf-8"), end="")
    if args.json:
        report_json({"id": folder.name, "folder": str(folder), "metrics": card.metrics})
    return 0
