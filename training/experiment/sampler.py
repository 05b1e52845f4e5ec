"""Configurations named by Optuna, a few at a time: it asks for values, and is told how they did.

    sampler = Sampler(asked)
    sampler.ask(2)                     the values of two more configurations
    sampler.tell(0, 1.234)             the first one came to so many bits per byte

Optuna draws by the recipe's seed, so a study is rebuilt after a kill by asking and telling the same again.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from backtalk.errors import WordsError
from training.experiment.expand import shown
from training.experiment.recipe import Asked


class Sampler:
    """A study over the lists of a recipe. Raises WordsError where Optuna is not installed."""

    def __init__(self, asked: Asked) -> None:
        if find_spec("optuna") is None:
            raise WordsError(
                "experiment.search is optuna, and the Python package optuna is not installed here. Install "
                "it (pip install 'optuna>=5,<6'), or search: random, which needs nothing."
            )
        optuna = import_module("optuna")  # an extra that nothing else needs
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=int(asked.plain.get("seed") or 0))
        self._study = optuna.create_study(direction="minimize", sampler=sampler)
        self._knobs = asked.knobs
        self._trials: list[Any] = []

    def ask(self, count: int) -> list[Mapping[str, Any]]:
        """The values of so many more configurations."""
        return [self._named() for _ in range(count)]

    def tell(self, number: int, bits_per_byte: float | None) -> None:
        """How a configuration did; None: it did not finish."""
        if bits_per_byte is None:
            self._study.tell(self._trials[number], state=_failed())
        else:
            self._study.tell(self._trials[number], bits_per_byte)

    def _named(self) -> Mapping[str, Any]:
        trial = self._study.ask()
        self._trials.append(trial)
        chosen = {}
        for one in self._knobs:
            by_name = {shown(value): value for value in one.values}
            chosen[one.name] = by_name[trial.suggest_categorical(one.name, list(by_name))]
        return chosen


def _failed() -> Any:
    return import_module("optuna").trial.TrialState.FAIL
