"""A finished export as the later steps read it: its card, and each GGUF with what was measured of it.

    exported = read_export(Path(".backtalk/exports/shop-3"))
    exported.files[0].quant, exported.files[0].failed

The folder says everything; what it does not say is not taken from a flag.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.card import Card, read_card
from backtalk.errors import ModelError, WordsError
from backtalk.files import sha256_of
from backtalk.home import home
from backtalk.models import quant_of


@dataclass(frozen=True)
class Gguf:
    """One file that can be served.

    `measured` is its row of the card's metrics; empty: it was never verified; None: it lies in no export.
    """

    path: Path
    sha256: str
    bytes: int
    measured: Mapping[str, Any] | None = None

    @property
    def quant(self) -> str:
        return quant_of(self.path.name) or "GGUF"

    def number(self, key: str) -> float | None:
        """One measure of it; None where it was not taken."""
        value = (self.measured or {}).get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    @property
    def failed(self) -> list[str]:
        """The bounds that it did not keep, by name."""
        if self.measured is None:
            return []
        if not self.measured:
            return ["verification (it never ran)"]
        bounds = [str(bound) for bound in self.measured.get("failed", ())]
        return bounds if bounds or self.measured.get("passed") is True else ["verification"]


@dataclass(frozen=True)
class Export:
    """A folder that `backtalk export` finished."""

    folder: Path
    card: Card
    files: tuple[Gguf, ...]


def folder_of(name: str) -> Path:
    """The folder or file that is meant: a path, else the id of an export in the state folder."""
    path = Path(name)
    if path.exists():
        return path
    if "/" not in name and (there := home() / "exports" / name).exists():
        return there
    raise WordsError(
        f"There is no export {name} here. Name a folder, a GGUF file or an id; ids are the folders "
        f"in {home() / 'exports'}."
    )


def read_export(folder: Path) -> Export:
    """The export in `folder`, every file compared with the card. Raises ModelError where one differs."""
    card = read_card(folder)
    if card.kind != "export":
        raise ModelError(
            f"{folder} holds a {card.kind}, and an export was wanted. Make one with: backtalk export RUN"
        )
    stated = {output["path"]: output["sha256"] for output in card.outputs}
    measured = {row["sha256"]: row for row in _rows(card.metrics)}
    files = tuple(_gguf(path, stated, measured) for path in sorted(folder.glob("*.gguf")))
    if not files:
        raise ModelError(f"{folder} holds no GGUF file. Export the model again.")
    return Export(folder, card, files)


def read_gguf(path: Path) -> Gguf:
    """One file, with what was measured of it where it lies in an export."""
    if (path.parent / CARD).exists() and read_card(path.parent).kind == "export":
        export = read_export(path.parent)
        return next(file for file in export.files if file.path.name == path.name)
    return Gguf(path, sha256_of(path), path.stat().st_size)


def _gguf(path: Path, stated: Mapping[str, str], measured: Mapping[str, Mapping[str, Any]]) -> Gguf:
    sha256 = sha256_of(path)
    if stated.get(path.name) != sha256:
        raise ModelError(
            f"{path} has sha256 {sha256[:8]} and its card says {stated.get(path.name, 'nothing')[:8]}: "
            "it was changed after the export. Export the model again."
        )
    return Gguf(path, sha256, path.stat().st_size, measured.get(sha256, {}))


def _rows(metrics: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The rows of single files, wherever they stand among the metrics: by quantization, or in a list."""
    for value in metrics.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and "sha256" in one and "passed" in one:
                yield one
            elif isinstance(one, dict):
                yield from _rows(one)
