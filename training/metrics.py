"""`metrics.jsonl`: what was measured of each step, and the truth about a run; pictures are drawn from it.

One line for a step: step, loss, rate, gradient_norm, tokens, seconds. A run that goes on from step 120 first
drops what was written of later steps: they are computed again, and said once.
"""

import json
from pathlib import Path
from typing import Any

from backtalk.files import write_jsonl

NAME = "metrics.jsonl"


class Metrics:
    """The file of one run, to which steps are added."""

    def __init__(self, folder: Path, after: int = 0):
        self._path = folder / NAME
        write_jsonl(self._path, [row for row in read_metrics(folder) if row["step"] <= after])

    def add(self, row: dict[str, Any]) -> None:
        """Adds a step."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run; a last line that was cut short by a kill is left out."""
    path = folder / NAME
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
