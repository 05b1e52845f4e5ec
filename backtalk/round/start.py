"""What a round begins with: the base, so that a withdrawn flag is unlearned; or the last round's adapter."""

from collections.abc import Sequence
from pathlib import Path

from backtalk.card import Card
from backtalk.files import read_jsonl
from backtalk.home import home


def start_of(wanted: str, curated: Path, rounds: Sequence[tuple[int, Card]]) -> tuple[str, str]:
    """The run whose adapter is taught on (empty: the base), and why in words."""
    if wanted == "base":
        return "", "from the base on all usable flags to date, so that what was withdrawn is unlearned."
    promoted = [(number, card) for number, card in rounds if card.metrics["promoted"]]
    if not promoted:
        return "", "from the base: no earlier round was promoted."
    number, card = promoted[-1]
    gone = _used(home() / "curated" / str(card.metrics["curated"])) - _used(curated)
    if gone:
        return "", f"from the base: {len(gone)} flags of round {number} no longer count and are unlearned."
    return str(card.metrics["run"]), f"from the adapter of round {number}, as the recipe says."


def _used(curated: Path) -> set[str]:
    file = curated / "manifest.jsonl"
    lines = read_jsonl(file) if file.is_file() else iter(())
    return {line["flag_id"] for line in lines if line["used"]}
