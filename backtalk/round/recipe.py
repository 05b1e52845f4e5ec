"""A round recipe: one YAML that says how flags become a model; every key with its default and help.

The recipe of the training itself is another file, named here; a round adds what it learned from the flags.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from backtalk.config import from_sources, knob, section
from backtalk.errors import WordsError

HOUSE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Train:
    """How the model is taught."""

    recipe: Path = knob(Path("recipes/mini_feedback.yaml"), "the training recipe")
    knobs: dict[str, Any] = field(
        default_factory=dict, metadata={"help": "knobs of it that are otherwise here, as kto.rate: 1e-3"}
    )


@dataclass(frozen=True)
class Replay:
    """What is taught again, so that nothing is forgotten."""

    share: float = knob(0.0, "share of what corrections teach that is replayed")
    rows: int = knob(0, "rows that are replayed, as a number in place of a share")
    source: str = knob("", "mini (its corpus), a curated set, or a .jsonl file")
    pool: int = knob(6000, "rows that are made of a corpus, to draw from")

    def __post_init__(self) -> None:
        if self.share and self.rows:
            raise WordsError("The recipe sets replay.share and replay.rows; one of them says how much.")
        if bool(self.share or self.rows) != bool(self.source):
            raise WordsError(
                "The recipe says of replay how much or from where; both are wanted "
                "(share or rows, and source), or none."
            )
        if self.pool < 1 or self.rows < 0:
            raise WordsError("replay.pool is at least 1, and replay.rows is no negative number.")


@dataclass(frozen=True)
class Rules:
    """From how much on something is learned from; none: never."""

    fewest: int = knob(20, "usable flags below which a round only collects")
    corrections: int | None = knob(1, "corrections from which on they are taught (sft)")
    votes: int | None = knob(100, "votes from which on they are taught (kto)")
    minority: int = knob(20, "of them, votes of the rarer kind")
    pairs: int | None = knob(50, "pairs from which on they are taught (dpo, with an sft term)")


@dataclass(frozen=True)
class Gate:
    """What the candidate and the current model are asked beside the held-out flags."""

    task: tuple[Path, ...] = knob((), "the task test: files of items")
    general: tuple[Path, ...] = knob((), "general text: files whose bits per byte are measured")
    max_tokens: int = knob(256, "longest answer in tokens")


@dataclass(frozen=True)
class Export:
    """The one file that is made, judged and served."""

    quant: str = knob("Q4_K_M", "its quantization")
    imatrix: bool = knob(False, "quantize with an importance matrix of the taught rows")
    texts: Path | None = knob(None, "held-out text that the file is verified on")


@dataclass(frozen=True)
class Hub:
    """Where flags come from and models go; empty: nowhere, or what the environment says."""

    dataset: str = knob("", "dataset of the flags, in place of BACKTALK_FLAGS_DATASET")
    model: str = knob("", "model repository that is published to")
    public: bool = knob(False, "make it for everyone to see")


@dataclass(frozen=True)
class RoundRecipe:
    """Everything that decides over a round but the flags and the model that is served now."""

    name: str = knob("round", "what files are called: NAME and the number of the round")
    include: Literal["accepted", "agreed", "all"] = knob("accepted", "flags to use: by a maintainer's word")
    eval_share: float = knob(0.2, "share of the conversations that is held out for the gate")
    most_per_contributor: int = knob(100, "flags of one contributor that are used at most")
    start: Literal["base", "last"] = knob("base", "what is taught: the base, or the last round's adapter")
    train: Train = section(Train)
    replay: Replay = section(Replay)
    rules: Rules = section(Rules)
    gate: Gate = section(Gate)
    export: Export = section(Export)
    hub: Hub = section(Hub)
    seed: int = knob(1, "of the split, the replay and the training")


def read_round_recipe(path: Path, flags: dict[str, Any] | None = None) -> RoundRecipe:
    """The recipe in a YAML file, changed by flags. Raises WordsError, also where a file is not there."""
    recipe = from_sources(RoundRecipe, found(path), flags)
    if not recipe.gate.task:
        raise WordsError(
            f"{path} names no task test, and without one no model is ever promoted. Give gate.task its files."
        )
    for file in files_of(recipe):
        if not found(file).is_file():
            raise WordsError(f"{path} names the file {file}, which is not there. Check the path.")
    return recipe


def files_of(recipe: RoundRecipe) -> list[Path]:
    """Every file that the recipe names."""
    texts = [recipe.export.texts] if recipe.export.texts else []
    return [recipe.train.recipe, *recipe.gate.task, *recipe.gate.general, *texts]


def found(path: Path) -> Path:
    """The path from the working directory; where nothing is there, the one of the house, if that is."""
    return HOUSE / path if not path.exists() and (HOUSE / path).exists() else path
