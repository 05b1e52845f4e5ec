"""What a GGUF says of itself: names, licence, descent. No time, host or path: same inputs, same bytes.

What the folder already says is taken from there: the licence and the base model from the head of README.md,
the round, the recipe and the parent from card.json. A flag wins over both.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import gguf
import yaml

from backtalk.card import NAME as CARD
from backtalk.card import Card, read_card
from backtalk.files import canonical_json

HUB = "https://huggingface.co"
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Metadata:
    """Entries of a GGUF's head under `general.` and `backtalk.`; an empty one is left out."""

    name: str = ""
    version: str = ""
    description: str = ""
    license: str = ""
    license_link: str = ""
    base_model: str = ""
    """The Hub repository that the weights descend from, as owner/name."""
    round: int = 0
    parent_sha256: str = ""
    """The weights that were taught: sha256 of their file, or of the list of their files' hashes."""
    recipe_sha256: str = ""
    """sha256 of the recipe's canonical JSON."""

    def over(self, other: "Metadata") -> "Metadata":
        """This one, its empty entries filled from `other`."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(other, **{name: value for name, value in said.items() if value})


def read_metadata(model_dir: Path) -> Metadata:
    """What the folder's README.md and card.json say; empty where they say nothing."""
    head = _readme_head(model_dir / "README.md")
    card = read_card(model_dir) if (model_dir / CARD).is_file() else Card("", "")
    parents = [entry for entry in card.inputs if entry.get("role") == "base"]
    return Metadata(
        license=_text(head.get("license")),
        license_link=_text(head.get("license_link")),
        base_model=_repository([entry.get("repo") for entry in parents])
        or _repository(head.get("base_model")),
        round=_round(card.recipe),
        parent_sha256=_hash_of_weights(parents),
        recipe_sha256=hashlib.sha256(canonical_json(card.recipe)).hexdigest() if card.recipe else "",
    )


def write_metadata(writer: gguf.GGUFWriter, metadata: Metadata, size_label: str) -> None:
    """Writes every entry that is not empty."""
    writer.add_name(metadata.name)  # the writer leaves empty texts out
    writer.add_version(metadata.version)
    writer.add_description(metadata.description)
    writer.add_size_label(size_label)
    writer.add_license(metadata.license)
    writer.add_license_link(metadata.license_link)
    if metadata.base_model:
        owner, _, name = metadata.base_model.rpartition("/")
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, name)
        writer.add_base_model_organization(0, owner)
        writer.add_base_model_repo_url(0, f"{HUB}/{metadata.base_model}")
    writer.add_uint32("backtalk.round", metadata.round)
    writer.add_string("backtalk.parent_sha256", metadata.parent_sha256)
    writer.add_string("backtalk.recipe_sha256", metadata.recipe_sha256)


def _readme_head(path: Path) -> Mapping[str, Any]:
    """The YAML between the first two lines of three dashes, which the Hub reads as well."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if not text.startswith("---\n"):
        return {}
    try:
        head = yaml.safe_load(text[4:].partition("\n---")[0])
    except yaml.YAMLError:
        return {}  # somebody's prose; what it would have said can be given by flags
    return head if isinstance(head, Mapping) else {}


def _hash_of_weights(entries: list[dict[str, Any]]) -> str:
    """One file: its sha256. Shards: the sha256 of their lines "hash  name", as sha256sum prints them."""
    files = sorted(
        (Path(str(entry.get("path"))).name, entry.get("sha256", ""))
        for entry in entries
        if str(entry.get("path")).endswith(".safetensors")
    )
    if len(files) == 1:
        return files[0][1]
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in files)
    return hashlib.sha256(lines.encode()).hexdigest() if lines else ""


def _round(recipe: Mapping[str, Any]) -> int:
    value = recipe.get("round", 0)
    return value if type(value) is int and value >= 0 else 0


def _repository(value: Any) -> str:
    """The first owner/name of one entry or a list; a folder of somebody's machine is none."""
    values = value if isinstance(value, list) else [value]
    return next((text for text in map(_text, values) if REPOSITORY.fullmatch(text)), "")


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
