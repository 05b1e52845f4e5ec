"""`verdict.json`: what the gate said of one GGUF. It speaks of the file with that sha256 and of no other.

PROMOTE  the model is better, with evidence
HOLD     there is not enough evidence yet
REJECT   the model is worse
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backtalk.errors import BacktalkError, WordsError
from backtalk.files import read_json

NAME = "verdict.json"
PROMOTE = "PROMOTE"
WORDS = (PROMOTE, "HOLD", "REJECT")


@dataclass(frozen=True)
class Verdict:
    """What the gate said, why, and with which intervals; `raw` is the file as it was written."""

    word: str
    gguf_sha256: str
    why: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)


def read_verdict(path: Path) -> Verdict:
    """The verdict in a file. Raises one sentence where it is none."""
    raw = read_json(path)
    if not isinstance(raw, dict) or raw.get("verdict") not in WORDS or not raw.get("gguf_sha256"):
        raise BacktalkError(
            f"{path} is no verdict: it needs 'verdict' ({', '.join(WORDS)}) and 'gguf_sha256'. "
            "Write it anew with: backtalk evaluate"
        )
    return Verdict(raw["verdict"], str(raw["gguf_sha256"]), str(raw.get("why", "")), raw)


def find_verdict(folder: Path, given: Path | None) -> Verdict | None:
    """The verdict in the file that was given, else the one in the folder; None where there is none."""
    if given is not None:
        if not given.is_file():
            raise WordsError(f"There is no verdict at {given}. Check the path.")
        return read_verdict(given)
    return read_verdict(folder / NAME) if (folder / NAME).is_file() else None
