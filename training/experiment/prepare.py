"""Everything that configurations read, read once: bases, rows, the rows to compare on.

    preparation = Preparation(asked, offline, progress)
    one = preparation.add(configuration)       its Ready, as `backtalk train` would have it
    preparation.split(seed)                    development and test rows of all that were added

A row to learn from that holds a row to compare on ends it here, with the pairs.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from backtalk.config import to_plain
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import canonical_json
from backtalk.home import home
from backtalk.progress import Progress
from training import run
from training.backends import choose
from training.base import Base, find_base
from training.experiment.expand import Configuration
from training.experiment.items import Candidate, Split, candidates, divide, extended
from training.experiment.recipe import Asked
from training.machine import device
from training.newest import settled
from training.recipe import Method, Recipe
from training.render import Renderer
from training.stage import Reading, Stage, read_stage


@dataclass(frozen=True)
class Prepared:
    """One configuration, ready to be trained. `reading`: which rows it is compared on, by its words."""

    configuration: Configuration
    ready: run.Ready
    reading: str

    @property
    def name(self) -> str:
        return self.configuration.name

    @property
    def recipe(self) -> Recipe:
        return self.ready.recipe

    @cached_property
    def order(self) -> str:
        """What decides over its batches: equal for two that see the same rows at the same steps."""
        data = [list(stage.loaded.train["id"]) for stage in self.ready.stages]
        batch = self.recipe.batch
        lengths = [len(row.ids) for stage in self.ready.stages for row in stage.rows] if batch.buckets else []
        return _digest([data, lengths, batch.size, batch.accumulation, self.recipe.seed])


class Preparation:
    """Reads for configuration after configuration what is not known yet."""

    def __init__(self, asked: Asked, offline: bool, progress: Progress):
        self.folder = home()
        self._asked, self._offline, self._progress = asked, offline, progress
        self._bases: dict[tuple[str, str], Base] = {}
        self._renderers: dict[Path, Renderer] = {}
        self._stages: dict[str, Stage] = {}
        self._candidates: dict[str, dict[str, Candidate]] = {}

    def add(self, configuration: Configuration) -> Prepared:
        """A configuration with everything that it reads. Raises BacktalkError where something is off."""
        recipe = settled(self._asked.recipe(configuration.name, configuration.changes))
        _refuse(recipe)
        base = self._base(recipe)
        renderer = self._renderer(base)
        stages = tuple(self._stage(recipe, method, base) for method in recipe.methods)
        if not any(stage.steps for stage in stages):
            raise BacktalkError(
                f"{configuration.name}: there is nothing to learn from. {stages[0].left_out}."
            )
        reading = self._read_evaluation(recipe, base)
        notes = (run.NO_TEMPLATE,) if renderer.bare else ()
        ready = run.Ready(recipe, base, stages, None, notes, self.folder / configuration.name)
        return Prepared(configuration, ready, reading)

    def housed(self, prepared: Prepared, folder: Path) -> Prepared:
        """The same in the experiment's folder, whose name follows from what all configurations read."""
        self.folder = folder
        return replace(prepared, ready=replace(prepared.ready, place=folder / prepared.name))

    def renderer(self, prepared: Prepared) -> Renderer:
        """How a configuration's base reads."""
        return self._renderer(prepared.ready.base)

    def split(self, seed: int) -> Split:
        """The rows to compare on, of all configurations so far."""
        return divide(self._candidates, self._asked.search, seed)

    def extend(self, split: Split, prepared: Prepared) -> Split:
        """The same rows, also as this configuration reads them. Raises WordsError where it cannot."""
        return extended(split, prepared.reading, self._candidates[prepared.reading])

    def _base(self, recipe: Recipe) -> Base:
        key = (recipe.base.model, recipe.base.revision)
        if key not in self._bases:
            self._bases[key] = find_base(*key)
        return self._bases[key]

    def _renderer(self, base: Base) -> Renderer:
        if base.folder not in self._renderers:
            self._renderers[base.folder] = Renderer(base.folder)
        return self._renderers[base.folder]

    def _stage(self, recipe: Recipe, method: Method, base: Base) -> Stage:
        """What one method learns from; read once for all configurations that learn from the same."""
        own = recipe.of(method)
        renderer, longest = self._renderer(base), _longest(recipe, base)
        read = [to_plain(one) for one in (own.data, own.kto, own.dpo)]
        key = _digest([str(base.folder), method, longest, own.seed, read])
        if key not in self._stages:
            reading = Reading(renderer, longest, self._offline, None, self._progress.report)
            self._stages[key] = read_stage(own, reading)
        return replace(self._stages[key], recipe=own)

    def _read_evaluation(self, recipe: Recipe, base: Base) -> str:
        """Reads the rows to compare on, as this configuration's words show them; the name of the reading."""
        data, count = recipe.data, self._asked.tests
        prompts = [source.prompt for source in (*data.sources, *data.evaluation)]
        reading = _digest([str(base.folder), to_plain(data.evaluation), prompts, recipe.seed])[:8]
        if reading not in self._candidates:
            if not data.evaluation and not data.eval_share and not any(one.path for one in data.sources):
                raise WordsError(
                    "An experiment compares on rows that nobody learns from, and the recipe names none. Give "
                    "it data.evaluation, or a data.eval_share such as 0.1."
                )
            # As questions with right answers, whatever is learned from: so that methods can be compared.
            rows = self._stage(replace(recipe, method="sft"), "sft", base).loaded.evaluation
            tests = [source.label for source in data.evaluation[len(data.evaluation) - count :]]
            self._candidates[reading] = candidates(rows, tests if count else ())
        return reading


def _digest(value: Any) -> str:
    return sha256(canonical_json(value)).hexdigest()


def _refuse(recipe: Recipe) -> None:
    if recipe.start:
        raise WordsError(
            "An experiment's configurations begin afresh, and the recipe has a start. Leave it out, or "
            "clone a configuration warm: backtalk experiment clone."
        )
    if recipe.data.filters.needs_base:
        raise WordsError(
            "An experiment does not filter by perplexity. Leave data.filters.perplexity_* "
            "out, or curate first."
        )
    if choose(recipe, device())[0] != "peft":
        raise WordsError("An experiment shares its base with PEFT; set backend: peft.")


def _longest(recipe: Recipe, base: Base) -> int:
    return min(recipe.batch.max_length, int(base.config.get("max_position_embeddings") or 2**31))


def varied(asked: Asked, given: list[Prepared]) -> list[str]:
    """The keys in which configurations differ, in the order in which the recipe has them."""
    keys = dict.fromkeys(key for one in given for key in one.configuration.changes)
    told: dict[str, Any] = dict.fromkeys([one.name for one in asked.knobs] + list(keys))
    return list(told)
