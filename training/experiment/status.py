"""`backtalk experiment status ID`: how all configurations stand now, from any terminal."""

from dataclasses import asdict

from backtalk.verb import Parser, report_json
from training.experiment import table
from training.experiment.control import waiting
from training.experiment.state import find_experiment, is_running, read_state


def main(argv: list[str]) -> int:
    """`backtalk experiment status`."""
    parser = Parser(
        "experiment status",
        "How all configurations of an experiment stand now: steps, bits per byte, loss, who was stopped.",
        example="backtalk experiment status samsum_gpt2_prompt_rank_lr-0123abcd",
    )
    parser.add_argument("id", metavar="ID", help="the experiment, or how its name begins")
    parser.add_json()
    args = parser.parse_args(argv)
    folder = find_experiment(args.id)
    state, runs = read_state(folder), is_running(folder)
    print("\n".join(table.live(state)))
    if state.phase != "finished":
        print("A process is working on it." if runs else "No process is working on it now.")
    for request in waiting(folder):
        print(f"Asked by {request.by}, not done yet: {request.action} {request.configuration}")
    if args.json:
        report_json({**asdict(state), "running": runs})
    return 0
