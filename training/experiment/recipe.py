"""An experiment's recipe: a run's recipe in which a value may be a list, and a section `experiment`.

lora: {r: [8, 16], alpha_over_r: 2}
optimiser: {rate: [5e-4, 2e-4]}
experiment: {search: grid, chunk: 4, test: [{name: samsum, split: test}]}

asked = read_experiment(Path("recipes/experiments/samsum_gpt2_prompt_rank_lr.yaml"), {"lora.r": 8})
asked.knobs, asked.search
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from backtalk.config import from_plain, knob, read_yaml
from backtalk.errors import WordsError, nearest
from backtalk.kinds import convert
from training.recipe import TARGETS, Recipe

SECTION = "experiment"
Steps = tuple[str | int, ...]
"""Where a value stands in the recipe: keys, and places in lists."""


@dataclass(frozen=True)
class Search:
    """The section `experiment`: which configurations, how often they are compared, and on what."""

    search: Literal["grid", "random", "listed", "optuna"] = knob(
        "grid", "every combination, some drawn by the seed, those of `configurations`, or by Optuna"
    )
    trials: int = knob(8, "configurations of a search that is random or Optuna's")
    at_once: int = knob(4, "configurations that Optuna names before it sees how they did")
    configurations: tuple[dict[str, Any], ...] = knob((), "for `listed`: what each changes, as {lora.r: 8}")
    chunk: int = knob(4, "steps between two comparisons on the development rows")
    growing: bool = knob(False, "compare after 1, 2, 4, 8 ... chunks alone: early, and rarely later")
    baselines: bool = knob(True, "also measure each base untaught, under each prompt")
    test: tuple[Any, ...] = knob((), "sources of the test rows (else: half of the evaluation rows)")
    test_share: float = knob(0.5, "share of the evaluation rows that are kept for the test")
    dev_items: int = knob(64, "most development rows")
    test_items: int = knob(64, "most test rows")
    longest_answer: int = knob(64, "tokens of an answer on the test rows")
    early_stop: Literal["off", "asha"] = knob("off", "stop weak configurations (successive halving)")
    early_least: int = knob(0, "steps before which none is stopped early (0: two chunks)")
    early_keep: int = knob(3, "of so many at a rung one goes on, and rungs grow by as much")

    def __post_init__(self) -> None:
        for name, least in (
            ("trials", 1), ("at_once", 1), ("chunk", 1), ("dev_items", 2), ("test_items", 2),
            ("longest_answer", 1), ("early_least", 0), ("early_keep", 2),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise WordsError(f"experiment.{name} is {getattr(self, name)}; at least {least} was wanted.")
        if not 0 < self.test_share < 1:
            raise WordsError(
                f"experiment.test_share is {self.test_share:g}; a share between 0 and 1 was wanted."
            )
        if (self.search == "listed") != bool(self.configurations):
            raise WordsError(
                "experiment.configurations and experiment.search: listed go together. Give both or neither."
            )

    def ends_chunk(self, step: int) -> bool:
        """Whether configurations are compared after so many steps."""
        chunks, rest = divmod(step, self.chunk)
        return not rest and chunks > 0 and (not self.growing or chunks & (chunks - 1) == 0)

    @property
    def first_rung(self) -> int:
        """Steps before which no configuration is stopped early."""
        return self.early_least or 2 * self.chunk


@dataclass(frozen=True)
class Knob:
    """One list of a recipe. `places`: where its value stands; sources may have one knob in common."""

    name: str
    values: tuple[Any, ...]
    places: tuple[Steps, ...]


@dataclass(frozen=True)
class Asked:
    """What an experiment's recipe asks for; `plain` is the recipe with its lists."""

    name: str
    plain: dict[str, Any]
    knobs: tuple[Knob, ...]
    search: Search
    tests: int
    """How many of the last sources of `data.evaluation` are for the test alone."""
    given: dict[str, Any]
    """The recipe as it was given, with the section `experiment`."""

    def recipe(self, name: str, chosen: Mapping[str, Any]) -> Recipe:
        """The recipe of one configuration; `chosen` has a value for each knob, and may change others.

        Raises WordsError where a key or a value is off.
        """
        values = deepcopy(self.plain)
        by_name = {one.name: one for one in self.knobs}
        for key, value in chosen.items():
            places = by_name[key].places if key in by_name else (tuple(key.split(".")),)
            for place in places:
                _put(values, place, value)
        return from_plain(Recipe, {**values, "name": f"{self.name}-{name}"}, f"configuration {name}")


def read_experiment(path: Path, changes: Mapping[str, Any] | None = None, scale: float = 1.0) -> Asked:
    """The experiment in a YAML file; `changes` replace values by dotted key.

    `scale` multiplies every number of steps, for a rehearsal. Raises WordsError.
    """
    values = read_yaml(path)
    for key, value in (changes or {}).items():
        _put(values, tuple(key.split(".")), value)
    if scale != 1.0:
        _scale(values, scale)
    return asked_from(str(values.get("name", "") or path.stem), values, str(path))


def asked_from(name: str, given: Mapping[str, Any], where: str) -> Asked:
    """The experiment in plain values; `where` names their source in errors. Raises WordsError."""
    values = deepcopy({key: value for key, value in given.items() if key != "name"})
    search = from_plain(Search, values.pop(SECTION, None) or {}, f"{where}, experiment")
    if search.test:
        data = values.setdefault("data", {})
        data["evaluation"] = [*data.get("evaluation", ()), *search.test]
    knobs = tuple(_linked(_lists(Recipe, values, ())))
    asked = Asked(name, values, knobs, search, len(search.test), dict(given))
    _check(asked, where)
    return asked


def _scale(values: dict[str, Any], scale: float) -> None:
    """Every number of steps that the recipe names, at least one step each."""

    def scaled(steps: Any) -> Any:
        if isinstance(steps, list):
            return list(dict.fromkeys(map(scaled, steps)))
        return max(1, round(steps * scale)) if isinstance(steps, int) else steps

    search = values.setdefault(SECTION, {})
    search["chunk"] = scaled(search.get("chunk", Search().chunk))
    for section, key in ((values.get("schedule", {}), "steps"), (search, "early_least")):
        if section.get(key):
            section[key] = scaled(section[key])
    for changed in search.get("configurations", ()):
        if "schedule.steps" in changed:
            changed["schedule.steps"] = scaled(changed["schedule.steps"])


def _check(asked: Asked, path: str) -> None:
    known = {one.name for one in asked.knobs}
    for changed in asked.search.configurations:
        if off := [key for key in changed if key.split(".")[0] not in get_type_hints(Recipe)]:
            raise WordsError(
                f"{path}: experiment.configurations changes '{off[0]}', which does not exist."
                f"{nearest(off[0], get_type_hints(Recipe))}"
            )
    if asked.search.search == "listed" and known:
        raise WordsError(
            f"{path} has a list at {', '.join(sorted(known))} and its configurations are listed. Put each "
            "value into experiment.configurations, or search a grid."
        )
    asked.recipe("check", {one.name: one.values[0] for one in asked.knobs})


def _lists(kind: type, values: Mapping[str, Any], at: Steps) -> Iterator[tuple[str, tuple[Any, ...], Steps]]:
    """Name, values and place of every list that stands where one value would."""
    hints = get_type_hints(kind)
    for key, value in values.items():
        place = (*at, key)
        inner = hints.get(key)
        if isinstance(inner, type) and is_dataclass(inner) and isinstance(value, Mapping):
            yield from _lists(inner, value, place)
        elif place[:1] == ("data",) and key in ("sources", "evaluation"):
            yield from _of_sources(value, place)
        elif isinstance(value, list) and _is_choice(inner, value):
            yield ".".join(map(str, place)), tuple(map(_frozen, value)), place


def _of_sources(sources: Sequence[Any], at: Steps) -> Iterator[tuple[str, tuple[Any, ...], Steps]]:
    for number, source in enumerate(sources):
        for key, value in source.items() if isinstance(source, Mapping) else ():
            if isinstance(value, list):
                yield f"data.{key}", tuple(map(_frozen, value)), (*at, number, key)


def _is_choice(kind: Any, value: list[Any]) -> bool:
    """Whether a list is several values, each of which would do; some knobs are lists themselves."""
    if value and all(one in TARGETS for one in value):  # each says by itself what is taught
        return True
    try:
        convert(kind, value)
    except (TypeError, ValueError):
        return bool(value)
    return False


def _linked(found: Iterator[tuple[str, tuple[Any, ...], Steps]]) -> Iterator[Knob]:
    """Lists of one name are one knob: a prompt changes in training and evaluation together."""
    knobs: dict[str, Knob] = {}
    for name, values, place in found:
        other = knobs.get(name)
        if other and other.values != values:
            raise WordsError(
                f"Two sources give '{name}' different lists; they change together, so one list was wanted."
            )
        knobs[name] = replace(other, places=(*other.places, place)) if other else Knob(name, values, (place,))
        if len(set(map(str, values))) < len(values):
            raise WordsError(f"The list of '{name}' has a value twice; each was wanted once.")
    return iter(knobs.values())


def _frozen(value: Any) -> Any:
    """YAML 1.1 reads `5e-4` as text; as a choice it is the number that it says."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return tuple(value) if isinstance(value, list) else value


def _put(values: Any, place: Steps, value: Any) -> None:
    *sections, last = place
    for step in sections:
        values = values[step] if isinstance(step, int) else values.setdefault(step, {})
    values[last] = list(value) if isinstance(value, tuple) else value
