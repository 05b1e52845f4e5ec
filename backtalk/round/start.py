"""What a round begins with: the base, so that a withdrawn flag is unlearned; or the last round's adapter."""

from collections.abc import Sequence
from pathlib import Path

from backtalk.card import Card
from backtalk.files import read_jsonl
from backtalk.home import home


def start_of(wanted: str, curated: Path, rounds: Sequence[tuple[int, Card]], served: str) -> tuple[str, str]:
    """The run whose adapter is taught on (empty: the base), and why in words.

    `served`: sha256 of the model that is served. After a rollback it is not the last round's.
    """
    if wanted == "base":
        return "", "from the base on all usable flags to date, so that what was withdrawn is unlearned."
    made = [(number, card) for number, card in rounds if served and card.metrics["sha256"] == served]
    if not made:
        return "", "from the base: no earlier round made the model that is served."
    number, card = made[-1]
    gone = used_flags(home() / "curated" / str(card.metrics["curated"])) - used_flags(curated)
    if gone:
        return "", f"from the base: {len(gone)} flags of round {number} no longer count and are unlearned."
    return str(card.metrics["run"]), f"from the adapter of round {number}, as the recipe says."


def used_flags(curated: Path) -> set[tuple[str, int]]:
    """The flags that a set uses, each as it was said: another revision says something else."""
    file = curated / "manifest.jsonl"
    lines = read_jsonl(file) if file.is_file() else iter(())
    return {(line["flag_id"], line["revision"]) for line in lines if line["used"]}
