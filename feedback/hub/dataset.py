"""The two private datasets that flags go to, and the card that makes `datasets.load_dataset` read them whole.

    named("flags")            the repository in BACKTALK_FLAGS_DATASET, "" where there is none
    home_of(history)          "flags", or "safety" for a flag that ever named a safety or privacy reason
    readme("flags")           README.md: which files belong together, and the type of every column
    with_reviews(card)        an older card, which did not speak of decisions yet, with what it lacks

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
from feedback.store.decisions import FORMAT as REVIEW_FORMAT
from feedback.store.decisions import Review

FLAGS, SAFETY = "flags", "safety"
VARIABLES = {FLAGS: "BACKTALK_FLAGS_DATASET", SAFETY: "BACKTALK_SAFETY_DATASET"}
FOLDER = "data/v1"  # a change of columns is a new folder and a new config
TAKEN = "compacted/v1"  # one list for each shard: the segments that it took
DATA_FILES = [f"{FOLDER}/**/*.jsonl", f"{FOLDER}/**/*.jsonl.gz"]
REVIEWS = "data/reviews/v1"
REVIEWS_CONFIG = "reviews"  # load_dataset(repository, "reviews")
CARD = "README.md"
FENCE = "---\n"  # around the part of a card that machines read

TEXT = """\
---
{head}---

# Flags of a Backtalk chat{which}

Each row is one event (`{format}`): what one contributor said of one answer from then on. Rows are only ever
added; of the rows with one `flag_id`, the highest `revision` stands, and `op: retract` withdraws the flag.
The config `{reviews}` has what maintainers decided (`{review_format}`); each names the one that it follows.
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
    head = _head({"configs": [config, _reviews_config()], "dataset_info": [info, _reviews_info()]})
    which, warning = (": safety", WARNING) if dataset == SAFETY else ("", "")
    words = {"format": FORMAT, "reviews": REVIEWS_CONFIG, "review_format": REVIEW_FORMAT}
    return TEXT.format(head=head, which=which, warning=warning, **words).encode()


def with_reviews(card: bytes) -> bytes:
    """The card with a config for decisions, all else as it was; unchanged where it has one.

    A card that somebody wrote in a way of his own is his.
    """
    try:
        before, head, body = card.decode().split(FENCE, 2)
        said = yaml.safe_load(head)
        configs, infos = said["configs"], said["dataset_info"]
        names = [config["config_name"] for config in configs]
    except (ValueError, KeyError, TypeError, yaml.YAMLError):
        return card
    if before or REVIEWS_CONFIG in names:
        return card
    infos = infos if isinstance(infos, list) else [infos]
    said |= {"configs": [*configs, _reviews_config()], "dataset_info": [*infos, _reviews_info()]}
    return f"{FENCE}{_head(said)}{FENCE}{body}".encode()


def _reviews_config() -> dict[str, Any]:
    return {
        "config_name": REVIEWS_CONFIG,
        "data_files": [{"split": "train", "path": [f"{REVIEWS}/**/*.jsonl"]}],
    }


def _reviews_info() -> dict[str, Any]:
    return {"config_name": REVIEWS_CONFIG, "features": features(Review)}


def _head(said: dict[str, Any]) -> str:
    return yaml.safe_dump(said, sort_keys=False, allow_unicode=True)


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
