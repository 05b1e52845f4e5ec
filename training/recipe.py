"""A recipe: one YAML is one run. Every knob, its default and its help stand here and nowhere else.

    recipe = read_recipe(Path("recipes/mini_feedback.yaml"))

What is left out takes the default below; the effective recipe, complete, goes into the run's card. A key that
does not exist is an error with the nearest name; what does not go together is one sentence with both keys.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from backtalk.config import from_sources, knob, section
from backtalk.errors import WordsError
from training.data.recipe import Data

Method = Literal["sft", "kto", "dpo"]
PairLoss = Literal["sigmoid", "sft", "robust", "ipo", "hinge", "sigmoid_norm"]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
TARGETS = ("qv", "attention", "all-linear")


@dataclass(frozen=True)
class Base:
    """The model that is taught."""

    model: str = knob("mini", "mini, a Hugging Face folder, or owner/repo on the Hub")
    revision: str = knob("", "commit of the repository on the Hub (its main branch)")
    load_in_4bit: bool = knob(False, "hold the frozen weights in 4 bits (needs bitsandbytes)")


@dataclass(frozen=True)
class Lora:
    """The adapter: small matrices beside the frozen ones."""

    r: int = knob(16, "rank: columns of each added matrix")
    alpha: float | None = knob(None, "scale: what is added counts alpha / r times")
    alpha_over_r: float | None = knob(None, "the scale itself, in place of alpha (2)")
    dropout: float = knob(0.0, "share of inputs that the adapter does not see in a step")
    targets: str | tuple[str, ...] = knob("all-linear", f"{', '.join(TARGETS)}, or a list of layer names")
    layers: tuple[int, ...] = knob((), "which of the base's layers are taught, counted from 0 (none: all)")
    rslora: bool = knob(False, "scale by alpha / sqrt(r), so that a high rank learns as fast")
    dora: bool = knob(False, "learn length and direction apart (slower; cannot be added while serving)")

    def __post_init__(self) -> None:
        if self.alpha is not None and self.alpha_over_r is not None:
            raise WordsError(
                "The recipe sets lora.alpha and lora.alpha_over_r, which are one knob. Leave one out."
            )
        if isinstance(self.targets, str) and self.targets not in TARGETS:
            raise WordsError(
                f"lora.targets is '{self.targets}'; wanted is one of {', '.join(TARGETS)}, "
                "or a list of layer names such as [q_proj, v_proj]."
            )
        if "lm_head" in self.targets:
            raise WordsError("lora.targets names lm_head, which is not taught: its loss is computed whole.")
        if any(layer < 0 for layer in self.layers):
            raise WordsError(f"lora.layers is {list(self.layers)}; layers are counted from 0 on.")
        _at_least("lora.r", self.r, 1)
        _share("lora.dropout", self.dropout)

    @property
    def effective_alpha(self) -> float:
        """PEFT's alpha, whichever way it was said."""
        if self.alpha is not None:
            return self.alpha
        return self.r * (2.0 if self.alpha_over_r is None else self.alpha_over_r)


@dataclass(frozen=True)
class Optimiser:
    """How a gradient becomes a step; only the adapter's weights have a state."""

    name: Literal["adamw", "adamw_8bit", "adafactor", "sgd"] = knob("adamw", "which (8bit: CUDA alone)")
    rate: float = knob(2e-4, "highest learning rate")
    beta1: float = knob(0.9, "memory of the mean gradient")
    beta2: float = knob(0.999, "memory of its square")
    epsilon: float = knob(1e-8, "keeps a division from blowing up")
    weight_decay: float = knob(0.0, "pull towards zero")
    clip: float = knob(1.0, "highest norm of a gradient (0: not clipped)")

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise WordsError(f"optimiser.rate is {self.rate:g}; a number above 0 was wanted, such as 2e-4.")


@dataclass(frozen=True)
class Schedule:
    """The learning rate over the run."""

    shape: Literal["linear", "cosine", "constant"] = knob("linear", "how it falls after the warm-up")
    warmup: float = knob(0.03, "share of the steps in which it rises")
    steps: int | None = knob(None, "optimiser steps")
    epochs: float | None = knob(None, "times that every row is seen, in place of steps (1)")

    def __post_init__(self) -> None:
        _share("schedule.warmup", self.warmup)
        if self.steps is not None and self.epochs is not None:
            raise WordsError(
                "The recipe sets schedule.steps and schedule.epochs; either says when to stop. Leave one out."
            )
        if self.steps is not None:
            _at_least("schedule.steps", self.steps, 1)
        if self.epochs is not None and self.epochs <= 0:
            raise WordsError(f"schedule.epochs is {self.epochs:g}; a number above 0 was wanted.")


@dataclass(frozen=True)
class Batch:
    """What one step sees."""

    size: int = knob(8, "rows that are computed at once")
    accumulation: int = knob(1, "such batches in an optimiser step")
    max_length: int = knob(1024, "tokens of the longest row that is taken")
    packing: bool = knob(False, "put several conversations in a row of max_length; none sees another")
    buckets: bool = knob(True, "rows of like length together, so that little is padded")

    def __post_init__(self) -> None:
        _at_least("batch.size", self.size, 1)
        _at_least("batch.accumulation", self.accumulation, 1)
        _at_least("batch.max_length", self.max_length, 8)


@dataclass(frozen=True)
class Checkpoints:
    """Where a killed run goes on."""

    every: int = knob(100, "steps between two checkpoints")
    keep: int = knob(2, "how many are kept; all go when the run is finished")

    def __post_init__(self) -> None:
        _at_least("checkpoints.every", self.every, 1)
        _at_least("checkpoints.keep", self.keep, 1)


@dataclass(frozen=True)
class Logging:
    """What is written down of the steps; metrics.jsonl is always written."""

    every: int = knob(1, "steps between two lines of metrics.jsonl")
    tensorboard: bool = knob(False, "also for TensorBoard (needs the package tensorboard)")
    trackio: bool = knob(False, "also for trackio, on this machine alone (needs the package trackio)")

    def __post_init__(self) -> None:
        _at_least("logging.every", self.every, 1)


@dataclass(frozen=True)
class Preference:
    """What learning from votes changes of optimiser, schedule and batch, for its own step of a chain."""

    SECTION: ClassVar[str] = ""

    beta: float = knob(0.1, "pull back to the reference: with less of it the model goes further away")
    rate: float = knob(5e-6, "highest learning rate, in place of optimiser.rate")
    steps: int | None = knob(None, "optimiser steps")
    epochs: float | None = knob(None, "times that every row is seen, in place of steps (1)")
    size: int = knob(8, "rows that are computed at once")
    accumulation: int = knob(1, "such batches in an optimiser step")
    fewest: int = knob(20, "rows below which nothing is learned from them, but more are collected")

    def __post_init__(self) -> None:
        name = self.SECTION
        for key in ("beta", "rate"):
            if getattr(self, key) <= 0:
                raise WordsError(f"{name}.{key} is {getattr(self, key):g}; a number above 0 was wanted.")
        if self.steps is not None and self.epochs is not None:
            raise WordsError(f"The recipe sets {name}.steps and {name}.epochs; leave one of them out.")
        if self.epochs is not None and self.epochs <= 0:
            raise WordsError(f"{name}.epochs is {self.epochs:g}; a number above 0 was wanted.")
        for key, value in (("steps", self.steps), ("accumulation", self.accumulation)):
            if value is not None:
                _at_least(f"{name}.{key}", value, 1)
        _at_least(f"{name}.fewest", self.fewest, 1)


@dataclass(frozen=True)
class Kto(Preference):
    """Learning from answers that were called good or bad, each by itself."""

    SECTION: ClassVar[str] = "kto"

    loss: Literal["kto", "apo_zero_unpaired"] = knob("kto", "which of the two losses for single votes")
    desirable: float | None = knob(None, "weight of good answers (from the counts)")
    undesirable: float | None = knob(None, "weight of bad answers (from the counts)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 2:
            raise WordsError(
                f"kto.size is {self.size}; at least 2 was wanted, better 4, since an answer is measured "
                "against the other answers of its batch. For less memory raise kto.accumulation instead."
            )
        if self.desirable is not None and self.undesirable is not None:
            raise WordsError(
                "The recipe sets kto.desirable and kto.undesirable, and only their ratio counts. "
                "Leave one out, or both: then they follow from the counts."
            )
        for key in ("desirable", "undesirable"):
            if getattr(self, key) is not None and getattr(self, key) <= 0:
                raise WordsError(f"kto.{key} is {getattr(self, key):g}; a number above 0 was wanted.")


@dataclass(frozen=True)
class Dpo(Preference):
    """Learning from pairs: of two answers to one question, which is better."""

    SECTION: ClassVar[str] = "dpo"

    loss: tuple[PairLoss, ...] = knob(
        ("sigmoid", "sft"), "its terms; sft keeps better answers likely, which the others do not"
    )
    weights: tuple[float, ...] | None = knob(None, "weight of each term (1 each)")
    label_smoothing: float = knob(0.0, "share of pairs that are thought to be the wrong way round")

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("dpo.size", self.size, 1)
        if not self.loss:
            raise WordsError("dpo.loss is an empty list; at least one term was wanted, such as sigmoid.")
        if self.weights is not None and len(self.weights) != len(self.loss):
            raise WordsError(
                f"dpo.loss has {len(self.loss)} terms and dpo.weights {len(self.weights)}; one each was "
                "wanted."
            )
        if not 0 <= self.label_smoothing < 0.5:
            raise WordsError(
                f"dpo.label_smoothing is {self.label_smoothing:g}; a share from 0 up to 0.5 was wanted."
            )
        if self.label_smoothing and "robust" not in self.loss:
            raise WordsError("dpo.label_smoothing counts for the loss 'robust' alone; take it in dpo.loss.")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides over a run."""

    name: str = knob("", "what the run is called (the recipe's file name)")
    base: Base = section(Base)
    method: Method | tuple[Method, ...] = knob("sft", "sft, kto, dpo, or a chain such as [sft, kto]")
    data: Data = section(Data)
    lora: Lora = section(Lora)
    optimiser: Optimiser = section(Optimiser)
    schedule: Schedule = section(Schedule)
    batch: Batch = section(Batch)
    kto: Kto = section(Kto)
    dpo: Dpo = section(Dpo)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = knob(
        "auto", "what is computed in: bfloat16 where the machine is fast at it, else float32"
    )
    gradient_checkpointing: bool | Literal["auto"] = knob(
        "auto", "compute layers twice to save memory (auto: only where memory is short)"
    )
    checkpoints: Checkpoints = section(Checkpoints)
    logging: Logging = section(Logging)
    start: str = knob("", "a finished run whose adapter is taught on (else: a fresh one)")
    round: int = knob(0, "which round of flags it belongs to; the model says so of itself (0: none)")
    seed: int = knob(42, "of every random draw")
    backend: Literal["auto", "peft", "unsloth"] = knob("auto", "which libraries train")

    def __post_init__(self) -> None:
        if self.name and not NAME.fullmatch(self.name):
            raise WordsError(f"The recipe's name '{self.name}' may hold letters, digits, '_', '.' and '-'.")
        if not self.methods:
            raise WordsError("The recipe's method is an empty list; sft, kto, dpo or a chain was wanted.")
        if len(set(self.methods)) < len(self.methods):
            raise WordsError(
                f"The recipe's chain {', '.join(self.methods)} has a method twice; each of sft, kto and dpo "
                "may stand in it once."
            )

    @property
    def methods(self) -> tuple[Method, ...]:
        """The steps of the chain, in order."""
        return (self.method,) if isinstance(self.method, str) else self.method

    def of(self, method: Method) -> "Recipe":
        """The recipe as one step of the chain has it: with its own rate, length and batches."""
        if method == "sft":
            return replace(self, method=method)
        own: Preference = self.kto if method == "kto" else self.dpo
        # Bad answers are often the shorter ones: sorted by length, they would make batches of one kind.
        buckets = self.batch.buckets and method != "kto"
        batch = replace(
            self.batch, size=own.size, accumulation=own.accumulation, packing=False, buckets=buckets
        )
        return replace(
            self,
            method=method,
            optimiser=replace(self.optimiser, rate=own.rate),
            schedule=replace(self.schedule, steps=own.steps, epochs=own.epochs),
            batch=batch,
        )


def read_recipe(path: Path, flags: dict[str, Any] | None = None) -> Recipe:
    """The recipe in a YAML file, changed by flags (`{"schedule.steps": 2}`). Raises WordsError."""
    recipe = from_sources(Recipe, path, flags)
    if recipe.name:
        return recipe
    return from_sources(Recipe, path, {**(flags or {}), "name": path.stem})


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise WordsError(f"{key} is {value}; at least {least} was wanted.")


def _share(key: str, value: float) -> None:
    if not 0 <= value < 1:
        raise WordsError(f"{key} is {value:g}; a share from 0 up to 1 was wanted, such as 0.05.")
