"""`card.json`: where a produced folder came from and what is in it. Written last: no card, not finished.

A card holds kind, id, created_at, the version and commit of Backtalk, every input with its sha256, the
recipe in full, library versions, seed, metrics, verdicts, and every output with sha256 and bytes. The next
step reads it and takes nothing from a flag that the card already says.
"""

import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from backtalk import __version__
from backtalk.errors import BacktalkError
from backtalk.files import read_json, sha256_of, write_json

NAME = "card.json"


@dataclass
class Card:
    """What a produced folder says of itself; see docs/contracts.md for each field."""

    kind: str
    id: str
    created_at: str = ""
    backtalk: dict[str, str] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    recipe: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)


def file_entry(path: Path, root: Path) -> dict[str, Any]:
    """One input or output: path relative to `root`, sha256, bytes."""
    return {
        "path": path.relative_to(root).as_posix(),
        "sha256": sha256_of(path),
        "bytes": path.stat().st_size,
    }


def write_card(folder: Path, card: Card, libraries: Iterable[str] = ()) -> Path:
    """Completes `card` (time, versions, hashes of every file in `folder`) and writes it last, atomically."""
    card.created_at = card.created_at or datetime.now(UTC).isoformat(timespec="seconds")
    card.backtalk = {"version": __version__, "commit": _commit()}
    card.libraries = {name: _installed(name) for name in sorted(libraries)}
    produced = (
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME and not path.name.endswith(".part")
    )
    card.outputs = [file_entry(path, folder) for path in produced]
    write_json(folder / NAME, asdict(card))
    return folder / NAME


def read_card(folder: Path) -> Card:
    """The card of a finished folder; without one the folder is not finished."""
    path = folder / NAME
    if not path.exists():
        raise BacktalkError(
            f"{folder} has no {NAME}, so it is not finished. "
            "Run the command that makes it again: it continues."
        )
    try:
        return Card(**read_json(path))
    except TypeError as fault:
        raise BacktalkError(f"{path} is not a card of this version ({fault}).") from fault


def _commit() -> str:
    """The checkout's commit, `+` appended where files differ from it; empty outside a checkout."""
    here = Path(__file__).parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        return head + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
