"""What all parts of bench/loop.py share: where they work, how much they do, what they return."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from backtalk.files import write_text
from backtalk.progress import Progress
from bench.report import Bound
from bench.story import RECIPE, Story, write_recipe
from training.mini.comparison import Line, compare, held_out
from training.mini.desk import desk
from training.mini.questions import EvaluationItem
from training.mini.stakeholders.errands import ASKERS, Errand, errands
from training.mini.stakeholders.maintainer import review
from training.mini.stakeholders.person import crowd
from training.mini.stakeholders.sheet import FactSheet, changed_facts

FLAGS, PEOPLE = 200, 24
QUICK_FLAGS, QUICK_ITEMS = 48, 4
KEPT = ("small_talk", "history", "outside", "summaries")  # rows in which nothing is to be lost


@dataclass(frozen=True)
class Setting:
    """`quick` proves that a part works; its figures say nothing."""

    work: Path
    seeds: tuple[int, ...]
    quick: bool
    progress: Progress = field(default_factory=Progress)

    @property
    def flags(self) -> int:
        return QUICK_FLAGS if self.quick else FLAGS

    def story(self, name: str) -> Story:
        return Story(self.work / name, self.progress)

    def items(self, changed: Collection[int]) -> list[EvaluationItem]:
        """The held-out questions of the table; with `quick` a few of each row."""
        return held_out(changed, QUICK_ITEMS if self.quick else 0)

    def recipe(self, name: str, **changes: Any) -> Path:
        """A round recipe of this bench."""
        if self.quick:
            changes |= {"gate": self._small_gate(), "train": {"recipe": str(self._short_training())}}
            changes |= {"replay": {"rows": 60, "pool": 200}}
            changes |= {"rules": {"fewest": 5, **changes.get("rules", {})}}
        return write_recipe(self.work / f"{name}.yaml", **changes)

    def _short_training(self) -> Path:
        path = RECIPE.with_name("mini_feedback.yaml")
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        recipe["schedule"] = {"shape": "linear", "warmup": 0.05, "steps": 4}
        write_text(self.work / "short_training.yaml", yaml.safe_dump(recipe, sort_keys=False))
        return self.work / "short_training.yaml"

    def _small_gate(self) -> dict[str, Any]:
        """The first rows of the files of the gate."""
        gate: dict[str, Any] = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["gate"]
        for part in ("task", "general"):
            rows = [
                line
                for path in gate[part]
                for line in (RECIPE.parents[1] / path).read_text(encoding="utf-8").splitlines()[:QUICK_ITEMS]
            ]
            write_text(self.work / f"{part}.jsonl", "\n".join(rows) + "\n")
            gate[part] = [str(self.work / f"{part}.jsonl")]
        return gate


@dataclass(frozen=True)
class Part:
    """What a part found: its bounds, its table as text, and figures for the JSON line."""

    bounds: Sequence[Bound]
    table: str
    figures: dict[str, Any]


def honest_flags(
    setting: Setting, story: Story, seed: int, batch: int = 1, askers: int = ASKERS
) -> list[dict[str, Any]]:
    """The flags of a batch's facts by honest people, given to what is served now; `askers` ask the same."""
    asked = honest_errands(seed, batch, askers)
    return story.flags(f"batch{batch}", story.served(), asked, FactSheet(batch), setting.flags)


def honest_errands(seed: int, batch: int = 1, askers: int = ASKERS) -> Iterator[Errand]:
    """What honest people ask of a batch's facts, without end; `askers` ask the same."""
    people = crowd(100 * batch + seed, honest=PEOPLE)
    return errands(100 * batch + seed, changed_facts(batch), people, askers)


def reviewed(story: Story, name: str, flags: Sequence[dict[str, Any]], sheet: FactSheet) -> dict[str, int]:
    """A maintainer decides on what waits; how many groups of flags got which decision."""
    facts = {fact.id: fact for fact in desk().facts()}
    of_flag = {flag["flag_id"]: facts[flag["about"]] for flag in flags}

    return story.piece(name, lambda: dict(review(story.home, of_flag, sheet)))


def lines_of(story: Story, base: str, model: Path, setting: Setting, changed: Collection[int]) -> list[Line]:
    """The table's rows of a model, compared with the base."""
    items = setting.items(changed)
    return compare(story.wrong(base, items), story.wrong(model, items), items, changed)


def spread(values: Sequence[float]) -> str:
    """Mean and range in percent, for tables."""
    return f"{fmean(values):7.2%} [{min(values):.2%}, {max(values):.2%}]"
