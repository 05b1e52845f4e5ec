"""The two private datasets that flags go to, and the card that makes `datasets.load_dataset` read them whole.

    named("flags")            the repository in BACKTALK_FLAGS_DATASET, "" where there is none
    home_of(history)          "flags", or "safety" for a flag that ever named a safety or privacy reason
    readme("flags")           README.md: which files belong together, and the type of every column

Types are written down because a reader would guess them from the first file: a column that is empty there, or
looks like a number or a date, would break or bend all files after it.
"""

import dataclasses
import os
from collections.abc import Iterable
from typing import Any, get_args, get_origin

import yaml

from feedback.columns import kinds
from feedback.schema import FORMAT, FlagEvent

FLAGS, SAFETY = "flags", "safety"
VARIABLES = {FLAGS: "BACKTALK_FLAGS_DATASET", SAFETY: "BACKTALK_SAFETY_DATASET"}
FOLDER = "data/v1"  # a change of columns is a new folder and a new config
TAKEN = "compacted/v1"  # one list for each shard: the segments that it took
DATA_FILES = [f"{FOLDER}/**/*.jsonl", f"{FOLDER}/**/*.jsonl.gz"]
CARD = "README.md"

TEXT = """\
---
{head}---

# Flags of a Backtalk chat{which}

Each row is one event (`{format}`): what one contributor said of one answer from then on. Rows are only ever
added; of the rows with one `flag_id`, the highest `revision` stands, and `op: retract` withdraws the flag.
Contributors are keyed pseudonyms, texts were masked before they were stored, and each row carries the consent
that it was given under: `consent.training` false means that it must not be trained on.
{warning}"""
WARNING = """
Flags with a safety or privacy reason are kept apart here: expect harmful text. For human review only.
"""

DTYPES: dict[Any, str] = {str: "string", int: "int64", float: "float64", bool: "bool"}


def named(dataset: str) -> str:
    """The repository of "flags" or "safety", as owner/name; empty where none is set."""
    return os.environ.get(VARIABLES[dataset], "").strip()


def home_of(history: Iterable[FlagEvent]) -> str:
    """Where the events of a flag belong: once it was about safety, nothing more of it goes to the first."""
    unsafe = any(reason.direction == "safety" for event in history for reason in event.reasons)
    return SAFETY if unsafe else FLAGS


def readme(dataset: str) -> bytes:
    """The card of a dataset, from the schema: the same bytes from every replica of a version."""
    config = {
        "config_name": "default",
        "data_files": [{"split": "train", "path": DATA_FILES}],
        "default": True,
    }
    info = {"config_name": "default", "features": features(FlagEvent)}
    head = yaml.safe_dump({"configs": [config], "dataset_info": info}, sort_keys=False)
    which, warning = (": safety", WARNING) if dataset == SAFETY else ("", "")
    return TEXT.format(head=head, which=which, format=FORMAT, warning=warning).encode()


def features(record: type) -> list[dict[str, Any]]:
    """The columns of a record as dataset_info spells them."""
    return [
        {"name": column.name, **_feature(kinds(record)[column.name], "packed" in column.metadata)}
        for column in dataclasses.fields(record)
    ]


def _feature(kind: Any, packed: bool) -> dict[str, Any]:
    if packed:
        return {"dtype": "string"}
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return {"list": DTYPES.get(item) or features(item)}
    return {"dtype": DTYPES[kind]} if kind in DTYPES else {"struct": features(kind)}
