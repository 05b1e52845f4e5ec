"""The base that an adapter was trained on: found by the run's card, and proven to be the one.

A run's card names every file of its base among `inputs`: `role` "base", `path` in `folder` (or in `repo` at
`revision`), `sha256`, `bytes`. A file that differs is another model, and an adapter on it would be noise that
looks like an answer, so it is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk import hub
from backtalk.card import NAME as CARD
from backtalk.card import Card
from backtalk.errors import ModelError
from backtalk.files import read_json, sha256_of

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
OF_TOKENIZER = re.compile(r"tokenizer|special_tokens|added_tokens|chat_template|vocab\.json|merges\.txt")
IN_FOUR_BITS = re.compile(r"(-unsloth)?-bnb-4bit$")

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Foundation:
    """A folder with a base whose files are the ones that the run's card names."""

    folder: Path
    entries: list[Entry]
    note: str = ""
    """What is to be said of it: that it was loaded in 4 bits for training, and is whole here."""

    @property
    def companions(self) -> list[str]:
        """Names of the files beside the weights."""
        names = [entry["path"] for entry in self.entries]
        return [
            name for name in names if not _of_weights(name) and name != CARD and not name.endswith(".gguf")
        ]


def find_base(run: Card, adapter: Path, moved: Path | None = None) -> Foundation:
    """The base of `run`, in `moved` where it no longer lies where the card says.

    Raises ModelError where it is not there, is not the one, or where only 4 bits of it are named.
    """
    entries = _entries(run, adapter)
    if whole := _sixteen_bit_name(entries):
        return _in_place_of(whole, entries, adapter, moved)
    folder = moved or _folder(entries)
    _check_revision(entries, adapter)
    for entry in entries:
        _check_file(entry, folder, adapter, _name(entries))
    _check_tokenizer(folder, adapter)
    if "quantization_config" in read_json(folder / CONFIG):
        raise ModelError(
            f"The base in {folder} holds weights that were quantized; a 16-bit one was wanted. "
            "Name the folder of the 16-bit base with --base and give its files in the run's card."
        )
    note = ""
    if _says(run.recipe, "load_in_4bit"):
        note = f"Trained on {_name(entries)} loaded in 4 bits; merged into its 16-bit weights."
    return Foundation(folder, entries, note)


def _entries(run: Card, adapter: Path) -> list[Entry]:
    entries: list[Entry] = [entry for entry in run.inputs if entry.get("role") == "base"]
    paths = [entry.get("path") for entry in entries]
    outside = [path for path in paths if not isinstance(path, str) or Path(path).name != path]
    lacking = [name for name in (CONFIG, TOKENIZER) if name not in paths]
    if not any(_of_weights(str(path)) for path in paths):
        lacking.append("*.safetensors")
    if outside or lacking:
        raise ModelError(
            f"The card of {adapter} lacks a part of its base: {', '.join(map(str, outside or lacking))}. "
            'An input of the role "base" was wanted for each file. Train again with this version.'
        )
    return entries


def _folder(entries: list[Entry]) -> Path:
    first = entries[0]
    if not first.get("repo"):
        return Path(str(first.get("folder") or "."))
    if not first.get("revision"):
        raise ModelError(
            f"The card names {first['repo']} without a revision. Say where that base lies with --base DIR."
        )
    return [hub.download(entry["repo"], entry["path"], entry["revision"]) for entry in entries][0].parent


def _check_revision(entries: list[Entry], adapter: Path) -> None:
    """PEFT writes a revision of its own beside the card's; both were written by the run."""
    told = read_json(adapter / "adapter_config.json").get("revision")
    known = {str(entry["revision"]) for entry in entries if entry.get("revision")}
    if told and known and known != {told}:
        raise ModelError(
            f"The adapter in {adapter} was trained on revision {told} and its card names "
            f"{', '.join(sorted(known))}. Train again on one of them."
        )


def _check_file(entry: Entry, folder: Path, adapter: Path, name: str) -> None:
    path = folder / entry["path"]
    if not path.is_file():
        raise ModelError(
            f"The adapter in {adapter} was trained on {name}, and {path} is not there. "
            "Fetch that base, or say where it lies with --base DIR."
        )
    wanted, found = str(entry.get("sha256")), sha256_of(path)
    if wanted != found:
        what = (
            "another tokenizer" if OF_TOKENIZER.match(path.name) else "another base or another revision of it"
        )
        raise ModelError(
            f"The adapter in {adapter} was trained on {name} with a {path.name} of sha256 {wanted[:12]}, and "
            f"{path} has {found[:12]}: {what}. Fetch the right one, or say where it lies with --base DIR."
        )


def _check_tokenizer(folder: Path, adapter: Path) -> None:
    """A run that saved its tokenizer beside the adapter must have trained with the base's."""
    if not (adapter / TOKENIZER).is_file():
        return
    ours, theirs = (_meaning(read_json(place / TOKENIZER)) for place in (adapter, folder))
    if ours != theirs:
        raise ModelError(
            f"The adapter in {adapter} was trained with the tokenizer beside it, not with that of the base "
            f"in {folder}. Name the base that has this tokenizer with --base DIR, or train with the base's."
        )


def _meaning(tokenizer: Mapping[str, Any]) -> str:
    """What decides over ids; padding and truncation are left behind by whoever used it last."""
    model = dict(tokenizer.get("model") or {})
    model["merges"] = [pair if isinstance(pair, str) else " ".join(pair) for pair in model.get("merges", [])]
    kept = {key: tokenizer.get(key) for key in ("added_tokens", "normalizer", "pre_tokenizer")}
    return json.dumps([model, kept], sort_keys=True)


# ---- a base of which the card names 4 bits alone


def _sixteen_bit_name(entries: list[Entry]) -> str:
    """The repository of the 16-bit weights, where the card names one of 4-bit weights; else empty."""
    name = _place(entries)
    return IN_FOUR_BITS.sub("", name) if IN_FOUR_BITS.search(name) else ""


def _in_place_of(whole: str, entries: list[Entry], adapter: Path, moved: Path | None) -> Foundation:
    if moved is None:
        raise ModelError(
            f"The adapter in {adapter} was trained on {_name(entries)}, and 4-bit weights cannot take it up. "
            f"Fetch the 16-bit base {whole} and say where it lies with --base DIR."
        )
    if not (moved / CONFIG).is_file() or "quantization_config" in read_json(moved / CONFIG):
        raise ModelError(
            f"{moved} holds no 16-bit weights; {whole} was wanted. Say where it lies with --base DIR."
        )
    beside = [entry for entry in entries if OF_TOKENIZER.match(entry["path"])]
    for entry in beside:
        _check_file(entry, moved, adapter, _name(entries))
    _check_tokenizer(moved, adapter)
    note = f"Trained on {_name(entries)} in 4 bits; merged into the 16-bit weights in {moved.name}."
    return Foundation(moved, [*beside, *_found_here(moved, beside, whole)], note)


def _found_here(folder: Path, beside: list[Entry], whole: str) -> Iterator[Entry]:
    """Entries for the files that no card vouches for."""
    known = {entry["path"] for entry in beside}
    for path in sorted(folder.iterdir()):
        wanted = path.name in (CONFIG, "generation_config.json") or _of_weights(path.name)
        if wanted and path.name not in known:
            yield {
                "role": "base",
                "repo": whole,
                "path": path.name,
                "sha256": sha256_of(path),
                "bytes": path.stat().st_size,
            }


def _of_weights(name: str) -> bool:
    return name.endswith((".safetensors", ".safetensors.index.json"))


def _name(entries: list[Entry]) -> str:
    """The base as a person knows it: repository and revision, else its folder."""
    revision = entries[0].get("revision")
    return f"{_place(entries)}@{revision[:12]}" if revision else _place(entries)


def _place(entries: list[Entry]) -> str:
    return str(entries[0].get("repo") or entries[0].get("folder") or "its base").rstrip("/")


def _says(recipe: Any, key: str) -> bool:
    """True where the recipe sets `key`, on whatever level."""
    if not isinstance(recipe, Mapping):
        return False
    return bool(recipe.get(key)) or any(_says(value, key) for value in recipe.values())
