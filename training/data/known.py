"""The datasets that a recipe knows by name, from known.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backtalk.config import from_plain, knob, read_yaml

HERE = Path(__file__).resolve().parent
SAMPLES = HERE / "samples"


@dataclass(frozen=True)
class Dataset:
    """A dataset on the Hub: where it is and what its columns mean; `samples`: our own rows, by split."""

    repo: str = knob("", "owner/name")
    revision: str = knob("", "a commit")
    columns: dict[str, str] = field(default_factory=dict)
    prompt: str = knob("", "prompt variant")
    stratify: str = knob("", "column")
    samples: dict[str, str] = field(default_factory=dict)


def _read(path: Path) -> dict[str, Dataset]:
    return {name: from_plain(Dataset, values, f"{path}, {name}") for name, values in read_yaml(path).items()}


KNOWN: Mapping[str, Dataset] = _read(HERE / "known.yaml")


def samples(repo: str, split: str) -> Path | None:
    """The file of our own rows that stands in for a split of a dataset; None where there is none."""
    for dataset in KNOWN.values():
        if dataset.repo == repo and split in dataset.samples:
            return SAMPLES / dataset.samples[split]
    return None
