"""What is evaluated, whatever it is: it answers questions and says how likely a reference is.

    subject = open_subject("runs/0123/")         an adapter; also a Hugging Face folder, a GGUF, an endpoint
    for item, answer in subject.ask(items, most=256): ...
    for item, bits in subject.read(items): ...

Answers are greedy. Both yield in whatever order is quickest.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from backtalk import hub
from backtalk.card import NAME as CARD
from backtalk.card import read_card
from backtalk.errors import ContextError, ModelError
from backtalk.files import sha256_of
from backtalk.home import home
from backtalk.models import Model, resolve
from training.evaluation.items import Item
from training.evaluation.scores import Answer

ADAPTER, CONFIG = "adapter_config.json", "config.json"
BASE = "base"
"""As a baseline: the base that the model was trained from, named in its card."""


class Subject(Protocol):
    """One model to evaluate."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """What it was read from, with sha256, for the card; an endpoint has an address alone."""
        ...

    @property
    def gguf(self) -> Model | None:
        """The file, where it is one that could be served."""
        ...

    def ask(self, items: Sequence[Item], most: int) -> Iterator[tuple[Item, Answer]]:
        """Each item with the answer, at most `most` tokens long. Raises ContextError with the row."""
        ...

    def read(self, items: Sequence[Item]) -> Iterator[tuple[Item, float]]:
        """Each item with the bits of its reference; nothing where they cannot be measured."""
        ...

    def close(self) -> None: ...


def open_subject(ref: str) -> Subject:
    """What a REF, a folder, a run's or export's id, or an address means. Raises ModelError, WordsError."""
    if ref.startswith(("http://", "https://")):
        from training.evaluation.endpoint import Endpoint

        return Endpoint(ref)
    if folder := _folder(ref):
        from training.evaluation.hugging_face import HuggingFace

        if (folder / ADAPTER).is_file():
            base, inputs = find_base(folder)
            return HuggingFace(folder.name, base, inputs + _files(folder, "adapter"), adapter=folder)
        return HuggingFace(folder.name, folder, _files(folder, "model"))
    from training.evaluation.served import Served

    return Served(_gguf(ref))


def open_baseline(ref: str, model: str) -> Subject:
    """Like `open_subject`; the word `base` is what `model` was trained from."""
    if ref != BASE:
        return open_subject(ref)
    from training.evaluation.hugging_face import HuggingFace

    folder = _folder(model) or _gguf(model).path.parent
    base, inputs = find_base(folder)
    return HuggingFace(base.name, base, inputs)


def find_base(folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of the base that the card in `folder` names, and the card's entries of it.

    Raises ModelError where none is named, or where its files are others now.
    """
    if not (folder / CARD).is_file():
        raise ModelError(
            f"{folder} has no {CARD}, so its base is unknown. Name the baseline's folder itself, "
            "or train with backtalk train, which writes the card."
        )
    entries = [entry for entry in read_card(folder).inputs if entry.get("role") == BASE]
    if not entries:
        raise ModelError(f"The card in {folder} names no base. Name the baseline itself: --baseline MODEL.")
    paths = [_fetched(entry) for entry in entries]
    for entry, path in zip(entries, paths, strict=True):
        if not path.is_file() or sha256_of(path) != entry["sha256"]:
            state = "differs from what it was then" if path.is_file() else "is not there"
            raise ModelError(
                f"{folder} was trained on {path}, which {state}. Put that base back where it was."
            )
    return paths[0].parent, entries


def placed(item: Item, fault: ContextError) -> ContextError:
    """The fault with the row that it is about."""
    return ContextError(f"{item.place}: {fault}")


def _folder(ref: str) -> Path | None:
    """The folder with a model for transformers or PEFT that is meant, if one is."""
    for folder in (Path(ref), home() / "runs" / ref):
        if (folder / ADAPTER).is_file() or (folder / CONFIG).is_file():
            return folder
    return None


def _gguf(ref: str) -> Model:
    """The file that is meant: an export's id stands for the one that it holds."""
    exported = home() / "exports" / ref
    return resolve(str(exported) if exported.is_dir() else ref)


def _fetched(entry: dict[str, Any]) -> Path:
    if entry.get("repo"):
        return hub.download(str(entry["repo"]), str(entry["path"]), str(entry.get("revision", "")))
    return Path(str(entry.get("folder") or ".")) / str(entry["path"])


def _files(folder: Path, role: str) -> list[dict[str, Any]]:
    """What decides over the answers of a model in a folder."""
    kinds = {".json", ".jinja", ".safetensors", ".model"}
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in kinds and path.name != CARD]
    return [
        {
            "role": role,
            "folder": str(folder),
            "path": path.name,
            "sha256": sha256_of(path),
            "bytes": path.stat().st_size,
        }
        for path in paths
    ]
