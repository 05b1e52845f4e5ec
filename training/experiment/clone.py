"""`backtalk experiment clone ID CONFIGURATION --set KEY=VALUE`: another like it, with changes."""

from training.experiment.asking import asker, check_changes, leave
from training.experiment.control import Request
from training.experiment.run import setting
from training.experiment.state import find_experiment


def main(argv: list[str]) -> int:
    """`backtalk experiment clone`."""
    parser = asker(
        "clone",
        "Another configuration like one that runs, with changes: afresh, or with --warm from the weights\n"
        "and the step that the other has reached, with an optimiser and a schedule of its own.",
        " --warm --set optimiser.rate=1e-4",
    )
    parser.add_argument(
        "--set", action="append", default=[], required=True, metavar="KEY=VALUE", help="what it has otherwise"
    )
    parser.add_argument("--warm", action="store_true", help="go on from the other's weights")
    args = parser.parse_args(argv)
    changes = dict(map(setting, args.set))
    check_changes(find_experiment(args.id), changes)
    return leave(Request("clone", args.configuration, changes, args.warm), args)
