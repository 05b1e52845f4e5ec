"""`backtalk experiment stop ID CONFIGURATION`: it takes no more steps from the end of its chunk on."""

from training.experiment.asking import ask_for


def main(argv: list[str]) -> int:
    """`backtalk experiment stop`."""
    return ask_for("stop", argv, "A configuration takes no more steps; what it has is kept.")
