"""`backtalk experiment resume ID CONFIGURATION`: one that was stopped goes on where it was."""

from training.experiment.asking import ask_for


def main(argv: list[str]) -> int:
    """`backtalk experiment resume`."""
    return ask_for(
        "resume", argv, "A configuration that was stopped, by a person or early, goes on where it was."
    )
