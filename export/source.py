"""What an export begins with: a run's adapter, or a folder with a whole model; and the id that follows.

find_source("7f3a")            .backtalk/runs/7f3a, its adapter there or in a folder below
find_source("models/mini")     a Hugging Face model folder, nothing to merge
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from backtalk import __version__
from backtalk.card import NAME as CARD
from backtalk.errors import WordsError
from backtalk.files import canonical_json, sha256_of
from backtalk.home import home
from export.foundation import find_base
from export.merge import read_run
from export.weights import stored_weights

ADAPTER, CONFIG = "adapter_config.json", "config.json"
OF_ADAPTER = (ADAPTER, "adapter_model.safetensors", CARD)
OF_MODEL = ("config.json", "generation_config.json", "tokenizer*", "*.jinja", "*.safetensors",
            "*.safetensors.index.json", "special_tokens_map.json", "vocab.json", "merges.txt")  # fmt: skip


@dataclass(frozen=True)
class Source:
    """`folder` holds the adapter, or the whole model; `values` is how many numbers the model has."""

    folder: Path
    name: str
    is_adapter: bool
    values: int
    inputs: tuple[dict[str, Any], ...]
    """Entries of a card: every file that decides what comes out, with its sha256."""

    @property
    def bf16_bytes(self) -> int:
        """What the model's weights take at 16 bits: what a reduction is measured against."""
        return 2 * self.values


def find_source(named: str, base: Path | None = None, name: str = "") -> Source:
    """The source that `named` means: a folder, or the id of a run. `base` as in `merge`.

    Raises WordsError where there is none, ModelError for an adapter that is not of its base.
    """
    folder = _folder(named)
    if (folder / ADAPTER).is_file():
        run = read_run(folder)
        foundation = find_base(run, folder, base)
        inputs = [*map(dict, foundation.entries), *_entries(folder, "adapter", OF_ADAPTER)]
        return Source(folder, name or run.id, True, _values(foundation.folder), tuple(inputs))
    inputs = _entries(folder, "model", OF_MODEL)
    return Source(folder, name or folder.resolve().name, False, _values(folder), tuple(inputs))


def export_id(source: Source, settings: dict[str, Any], files: Sequence[dict[str, Any]]) -> str:
    """The name of the export: the same inputs and settings are found again under it.

    What no file's content depends on (where a folder lies, when a card was written) is left out.
    """
    deciding = [
        (entry.get("role", ""), Path(entry["path"]).name, entry["sha256"])
        for entry in (*source.inputs, *files)
        if Path(entry["path"]).name != CARD
    ]
    told = {"version": __version__, "name": source.name, "inputs": sorted(deciding), **settings}
    return f"{source.name}-{hashlib.sha256(canonical_json(told)).hexdigest()[:8]}"


def _folder(named: str) -> Path:
    tried = [
        place / below
        for place in (Path(named), home() / "runs" / named)
        for below in ("", "adapter")
        if (place / below).is_dir()
    ]
    for folder in tried:
        if (folder / ADAPTER).is_file() or (folder / CONFIG).is_file():
            return folder
    found = f"{named} holds no {ADAPTER} and no {CONFIG}" if tried else f"There is no folder or run {named}"
    raise WordsError(f"{found}. Name a run, its folder, or a folder with a whole Hugging Face model.")


def _entries(folder: Path, role: str, patterns: Sequence[str]) -> list[dict[str, Any]]:
    files = sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})
    return [
        {"role": role, "folder": str(folder), "path": file.name, "sha256": sha256_of(file),
         "bytes": file.stat().st_size}
        for file in files
    ]  # fmt: skip


def _values(folder: Path) -> int:
    return sum(prod(tensor.shape) for tensor in stored_weights(folder))
