"""Where an export comes from, as far as files say: base model on the Hub, licence, data sets, round.

Read are the cards, from the export back to the base, the model cards (README.md) that lie beside them, and
the head of a GGUF. What they state is collected; `export/licence.py` decides.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from backtalk.card import NAME as CARD
from backtalk.card import Card, read_card
from backtalk.gguf_check import Value, head
from backtalk.home import home
from export.exported import Export

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
REPO = re.compile(r"(?:https://huggingface\.co/)?([\w.-]+/[\w.-]+)")
DATA_ROLES = frozenset({"data", "dataset", "flags"})
BASE_KEYS = ("base", "base_model")  # of a recipe


@dataclass
class Origin:
    """What is known of where a model comes from; a list may hold what contradicts itself."""

    name: str = ""
    round: int = 0
    bases: list[str] = field(default_factory=list)  # repositories on the Hub
    names: list[str] = field(default_factory=list)  # what else the base is called: model names, folders
    licences: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)  # ids of the curated sets that taught it


def origin_of(export: Export) -> Origin:
    """What the export's files and the folders that it was made from state."""
    found = Origin()
    _read_head(head(export.files[0].path), found)
    _read_folder(export.folder, found, seen=set())
    found.name = found.name or export.card.id
    for stated in (found.bases, found.names, found.licences, found.datasets, found.sets):
        stated[:] = dict.fromkeys(stated)  # each once, in the order in which they were found
    return found


def round_of(gguf: Path) -> int:
    """How many rounds of flags taught the model, by its own head."""
    return _whole(head(gguf).get("backtalk.round"))


def licence_in(gguf: Path) -> str:
    """The licence that the file's own head states; may be empty."""
    return str(head(gguf).get("general.license", ""))


def _read_head(values: Mapping[str, Value], found: Origin) -> None:
    found.name = str(values.get("general.name", ""))
    found.round = _whole(values.get("backtalk.round"))
    if values.get("general.license"):
        found.licences.append(str(values["general.license"]))
    for key, value in values.items():
        if re.fullmatch(r"general\.base_model\.\d+\.(repo_url|url)", key):
            _add_base(str(value), found)
        elif re.fullmatch(r"general\.base_model\.\d+\.name", key):
            found.names.append(str(value))


def _read_folder(folder: Path, found: Origin, seen: set[Path]) -> None:
    """What a folder's card and model card state, then those of the folders that it was made from."""
    folder = folder.resolve()
    if folder in seen or not folder.is_dir():
        return
    seen.add(folder)
    _read_model_card(folder / "README.md", found)
    if not (folder / CARD).exists():
        return
    card = read_card(folder)
    _read_card(card, found)
    for entry in card.inputs:
        for before in _folders(entry, folder):
            _read_folder(before, found, seen)


def _read_card(card: Card, found: Origin) -> None:
    found.round = found.round or _whole(card.recipe.get("round"))
    if card.kind == "curated set":
        found.sets.append(card.id)
    for key in BASE_KEYS:
        if isinstance(value := card.recipe.get(key), str):
            found.names.append(value)
    for entry in card.inputs:
        repo, role = entry.get("repo", ""), entry.get("role", "")
        if repo and (entry.get("repo_type") == "dataset" or role in DATA_ROLES):
            found.datasets.append(repo)
        elif repo:
            _add_base(repo, found)
        if entry.get("license"):
            found.licences.append(str(entry["license"]))


def _read_model_card(path: Path, found: Origin) -> None:
    """Licence and base model in the metadata of a README.md; one that cannot be read states nothing."""
    if not path.is_file():
        return
    front = FRONT_MATTER.match(path.read_text(encoding="utf-8", errors="replace"))
    try:
        stated = yaml.safe_load(front[1]) if front else {}
    except yaml.YAMLError:
        return
    if not isinstance(stated, dict):
        return
    licence = stated.get("license_name") if stated.get("license") == "other" else stated.get("license")
    if licence:
        found.licences.append(str(licence))
    bases = stated.get("base_model") or []
    for base in bases if isinstance(bases, list) else [bases]:
        _add_base(str(base), found)


def _folders(entry: Mapping[str, Any], here: Path) -> Iterator[Path]:
    """The folders that an input may lie in: as it is stated, from the state folder or beside this one."""
    for start in (Path(), home(), here, here.parent):
        if entry.get("folder"):
            yield start / str(entry["folder"])
        there = start / str(entry.get("path") or ".")
        if there.is_file() and there.stat().st_size == entry.get("bytes"):
            yield there.parent


def _add_base(stated: str, found: Origin) -> None:
    repo = REPO.fullmatch(stated)
    if repo:
        found.bases.append(repo[1])
    elif stated:
        found.names.append(stated)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
