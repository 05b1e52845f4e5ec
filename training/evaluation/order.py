"""What an evaluation is asked to do, the words that are off in it, and the name that follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from backtalk import __version__
from backtalk.errors import WordsError
from backtalk.files import canonical_json, sha256_of
from training.data.variant import Variant, find_variant
from training.evaluation.items import GENERAL, PRIMARY, Item
from training.evaluation.scores import BITS, EXACT, METRICS, RIGHT, is_asked
from training.evaluation.subject import Subject
from training.gate import quantized_file


@dataclass(frozen=True)
class Order:
    """What is to be evaluated, on what, against what."""

    model: str
    files: Mapping[str, tuple[Path, ...]]
    """By part: primary, task, earlier, general."""
    baseline: str = ""
    prompts: tuple[str, ...] = ("",)
    """Names of prompt variants; empty: rows are questions already. The gate judges the first."""
    metric: str = ""
    """What decides on the primary set; empty: `right` where items define it, else ROUGE-L."""
    max_tokens: int = 256
    bits: Literal["every", "general"] = "every"
    """Of which references the bits are measured; the gate wants those of general text alone."""

    def reads(self, item: Item) -> bool:
        """Whether it is measured how likely the model finds this item's reference."""
        wanted = self.bits == "every" or item.part == GENERAL or self.metric == BITS
        return wanted and bool(item.reference)

    def as_recipe(self) -> dict[str, Any]:
        """The order as a card holds it."""
        return asdict(self) | {
            "files": {part: [str(path) for path in paths] for part, paths in self.files.items()},
            "prompts": list(self.prompts),
            "decoding": "greedy",
            "rouge": "rouge_score, use_stemmer=True, F1",
        }


def variant_of(prompt: str) -> Variant | None:
    """The variant with this name; none where rows are questions already."""
    return find_variant(prompt, {}) if prompt else None


def check_metric(order: Order, items: Sequence[Item]) -> None:
    """Raises WordsError where the primary set cannot say what is to be decided by."""
    primary = [item for item in items if item.part == PRIMARY]
    if not any(is_asked(item) for item in primary) and order.metric != BITS:
        raise WordsError(
            "The files of --data hold plain text and nothing to answer. Give texts with --general, "
            "or decide by bits per byte: --metric bits_per_byte."
        )
    defined = {
        RIGHT: any(item.checked for item in primary),
        EXACT: any(item.exact for item in primary),
    }.get(order.metric, any(item.reference for item in primary))
    if order.metric in METRICS and not defined:
        raise WordsError(
            f"No item of --data defines the metric '{order.metric}'. 'right' wants must or must_not, "
            "'exact' wants exact: true, everything else a reference."
        )


def inputs_of(order: Order, subjects: Mapping[str, Subject]) -> list[dict[str, Any]]:
    """Every file that decides over the results, by role, for the card."""
    models = [
        entry if role == "model" else {**entry, "role": "baseline"}
        for role, subject in subjects.items()
        for entry in subject.inputs
    ]
    data = [
        {
            "role": f"data: {part}",
            "folder": str(path.parent),
            "path": path.name,
            "sha256": sha256_of(path),
            "bytes": path.stat().st_size,
        }
        for part, paths in order.files.items()
        for path in paths
    ]
    return models + data


def identity_of(order: Order, inputs: Sequence[Mapping[str, Any]], model: Subject) -> str:
    """A name that follows from everything that decides over results and verdict."""
    variants = [variant_of(prompt) for prompt in order.prompts]
    contents = [[entry["role"], entry["path"], entry["sha256"]] for entry in inputs if "sha256" in entry]
    whole = [
        __version__,
        contents,
        [[entry["endpoint"], entry["name"]] for entry in inputs if "endpoint" in entry],
        [[variant.name, variant.source] if variant else [] for variant in variants],
        order.metric,
        order.max_tokens,
        order.bits,
        quantized_file(model.gguf).standing,
    ]
    return sha256(canonical_json(whole)).hexdigest()[:12]
