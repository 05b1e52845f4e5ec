"""The section `data` of a recipe: sources, their mixture, what is filtered out, what is held out.

    data:
      sources:
        - path: curated/0123456789ab        # a curated set; its card must be there
          share: 0.25
        - name: finetome                    # a dataset that is known by name
          share: 0.75
      eval_share: 0.02
      filters: {longest: 1024, duplicates: near}

A source may also be a word alone: `sources: [bitext]`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from backtalk.config import from_plain, knob, section
from backtalk.errors import WordsError, nearest
from training.data.known import KNOWN
from training.data.language import LANGUAGES
from training.data.variant import find_variant

Form = Literal["sft", "kto", "dpo"]
"""What a trainer takes: prompt and completion, these with a label, or prompt, chosen and rejected."""

COMMIT = re.compile(r"[0-9a-f]{40}")

ROLES = ("messages", "system", "prompt", "completion", "label", "chosen", "rejected")
"""What a column can be; `columns` of a source maps each to the name that it has there."""


@dataclass(frozen=True)
class Source:
    """Where rows come from, and how many of them are taken."""

    name: str = knob("", "a dataset known by name: bitext, finetome, samsum")
    path: str = knob("", "a .jsonl, .json, .csv or .parquet file, a folder of them, or a curated set")
    repo: str = knob("", "a dataset on the Hub, as owner/name")
    revision: str = knob("", "full commit of the repo (else: where its main branch stands)")
    config: str = knob("", "configuration of the repo, where it has several")
    split: str = knob("train", "split of the repo")
    columns: dict[str, str] = field(
        default_factory=dict, metadata={"help": f"names of the columns: {', '.join(ROLES)}"}
    )
    prompt: str = knob("", "prompt variant that makes the user's message of a row")
    group: str = knob("", "column whose equal rows are never divided between training and evaluation")
    stratify: str = knob("", "column whose values a smaller sample holds in the same proportions")
    share: float | None = knob(None, "share of the training rows that are of this source")
    limit: int = knob(0, "most rows that are taken, drawn with the seed (0: all)")
    repeat: int = knob(1, "times that a row may stand in the mixture")
    balance: bool = knob(False, "where not all rows are taken, as many of each answer")
    only: Literal["", "taught", "replayed"] = knob("", "of a curated set: rows of flags, or those replayed")
    streaming: bool = knob(False, "read `limit` rows without storing the dataset; for what does not fit")

    def __post_init__(self) -> None:
        _check_place(self)
        _check_known("columns", self.columns, ROLES)
        if any(not isinstance(name, str) for name in self.columns.values()):
            raise WordsError("'columns' should give each part the name of a column.")
        if self.share is not None and not 0 < self.share <= 1:
            raise WordsError(f"'share' should be above 0 and at most 1, but {self.share} was found.")
        _check_least({"limit": (self.limit, 0), "repeat": (self.repeat, 1)})
        if self.streaming and not self.limit:
            raise WordsError("'streaming' needs a 'limit': how many rows are taken from the stream.")

    @property
    def label(self) -> str:
        """What errors and reports call it."""
        more = [self.split] if self.split != "train" else []
        more += [self.prompt] if self.prompt else []
        return (self.name or self.path or self.repo) + (f" ({', '.join(more)})" if more else "")


@dataclass(frozen=True)
class Filters:
    """What is left out for its quality, each with its count in the card."""

    shortest: int = knob(0, "fewest tokens of a conversation")
    longest: int = knob(0, "most tokens of a conversation (0: one beyond the context is an error)")
    language: str = knob("", f"language that is wanted: {', '.join(LANGUAGES)} (else: any)")
    language_share: float = knob(0.8, "least share of a conversation's letters in that language")
    duplicates: Literal["keep", "exact", "near"] = knob("exact", "which repeated conversations are left out")
    perplexity_least: float = knob(0.0, "least perplexity of the answers under the base model")
    perplexity_most: float = knob(0.0, "highest perplexity of the answers under the base model (0: any)")

    def __post_init__(self) -> None:
        least = {"shortest": (self.shortest, 0), "longest": (self.longest, 0)}
        _check_least(least)
        if self.longest and self.shortest > self.longest:
            raise WordsError(f"'shortest' is {self.shortest}, more than 'longest', {self.longest}.")
        if self.language:
            _check_known("language", [self.language], LANGUAGES)
        if not 0 < self.language_share <= 1:
            raise WordsError(f"'language_share' should be above 0 and at most 1, not {self.language_share}.")
        if self.perplexity_least < 0 or 0 < self.perplexity_most <= self.perplexity_least:
            raise WordsError(
                f"No perplexity is between {self.perplexity_least} ('perplexity_least') and "
                f"{self.perplexity_most} ('perplexity_most')."
            )

    @property
    def needs_base(self) -> bool:
        """Whether the base model has to read the rows."""
        return bool(self.perplexity_least or self.perplexity_most)


@dataclass(frozen=True)
class Data:
    """What a run learns from, and what it is compared on."""

    sources: tuple[Any, ...] = knob((), "what is learned from, a list of sources")
    evaluation: tuple[Any, ...] = knob((), "sources that are for evaluation alone")
    eval_share: float = knob(0.0, "share of the sources' questions that is held out for evaluation")
    eval_limit: int = knob(0, "most rows of an evaluation (0: all)")
    rows: int = knob(0, "training rows of the mixture (0: as many as the shares allow)")
    filters: Filters = section(Filters)
    prompts: dict[str, str] = field(
        default_factory=dict, metadata={"help": "prompt variants of this recipe: name and Jinja template"}
    )
    faulty: Literal["stop", "leave_out"] = knob("stop", "what happens where a row cannot be used")
    drop_leaks: bool = knob(False, "leave out training rows that hold an evaluation prompt")

    def __post_init__(self) -> None:
        for name in ("sources", "evaluation"):
            object.__setattr__(self, name, _sources(getattr(self, name), f"data.{name}"))
        if not 0 <= self.eval_share <= 0.5:
            raise WordsError(f"'data.eval_share' should be from 0 to 0.5, but {self.eval_share} was found.")
        _check_least({"data.eval_limit": (self.eval_limit, 0), "data.rows": (self.rows, 0)})
        for source in (*self.sources, *self.evaluation):
            if source.prompt:
                find_variant(source.prompt, self.prompts)
        _check_shares(self.sources)
        if any(source.share is not None for source in self.evaluation):
            raise WordsError(
                "A source of 'data.evaluation' has a share; evaluation takes all of it, or a limit."
            )


def _sources(given: Iterable[Any], where: str) -> tuple[Source, ...]:
    return tuple(_source(one, f"{where}, entry {place}") for place, one in enumerate(given, start=1))


def _source(given: Any, where: str) -> Source:
    """A source from a mapping, or from a word: the name of a dataset, else a path."""
    if isinstance(given, Source):
        return given
    if isinstance(given, str):
        given = {"name" if given in KNOWN else "path": given}
    if not isinstance(given, Mapping):
        raise WordsError(f"{where}: keys with values were wanted, such as `name: finetome`.")
    try:
        return from_plain(Source, given, where)
    except WordsError as fault:
        raise WordsError(str(fault) if str(fault).startswith(where) else f"{where}: {fault}") from None


def _check_place(source: Source) -> None:
    given = [name for name in ("name", "path", "repo") if getattr(source, name)]
    if len(given) != 1:
        raise WordsError(
            f"It has {' and '.join(given) if given else 'no place'}; one of name, path and repo was wanted."
        )
    if source.name:
        _check_known("name", [source.name], KNOWN)
    if source.revision and not COMMIT.fullmatch(source.revision):
        raise WordsError(
            f"'revision' is '{source.revision}'; a full commit of 40 digits was wanted, so that the rows can "
            "be had again. It stands on the dataset's page under History."
        )
    if source.path and (source.revision or source.config):
        raise WordsError("A path has no 'revision' and no 'config'; these are for a repo.")


def _check_known(key: str, given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            raise WordsError(
                f"'{key}' has {name!r}; known are {', '.join(known)}.{nearest(str(name), known)}"
            )


def _check_least(knobs: Mapping[str, tuple[int, int]]) -> None:
    for name, (value, least) in knobs.items():
        if value < least:
            raise WordsError(f"'{name}' should be {least} or more, but {value} was found.")


def _check_shares(sources: Iterable[Source]) -> None:
    shares = [source.share for source in sources]
    given = [share for share in shares if share is not None]
    if given and len(given) < len(shares):
        raise WordsError(
            "Some sources of 'data' have a share and some have none; give all of them one, or none."
        )
    if given and abs(sum(given) - 1) > 1e-6:
        raise WordsError(f"The shares of 'data.sources' make {sum(given):g}; they should make 1.")
