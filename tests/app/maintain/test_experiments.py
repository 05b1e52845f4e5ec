"""Experiments in the maintainer's tab: what is read, and what is asked in the signed-in name.

Command: python -m pytest tests/app/maintain/test_experiments.py
Promise: only an experiment, a configuration and changes that are some can be asked about, and the request
names who asked.
"""

import json

import pytest

from app.maintain import experiments
from app.maintain.experiments import Asked
from app.maintain.maintainer import Maintainer
from backtalk.errors import WordsError
from backtalk.files import write_json
from backtalk.home import home
from tests.app.maintain.test_watching import written

ADA = Maintainer("ada")


def test_it_shows_the_table_and_the_curves_as_numbers() -> None:
    written(home(), "grid-1", {}, {"name": "c2", "bits_per_byte": None, "loss": None, "step": 0})
    found = experiments.look("")
    assert (found["name"], found["phase"], found["first"]) == ("grid-1", "training", 12.0)
    assert [row["name"] for row in found["rows"]] == ["c1", "c2"]
    assert found["curves"] == {"c1": [(2, 1.75), (4, 1.5)]}
    assert experiments.look("")["names"] == ["grid-1"]


def test_a_request_is_left_in_the_name_of_who_asked() -> None:
    folder = written(home(), "grid-1", {})
    write_json(folder / "recipe.json", {"name": "grid", "path": "grid.yaml", "given": {}})
    asked = experiments.ask(ADA, Asked("stop", "grid-1", "c1"))
    left = json.loads((folder / "requests" / f"{asked}.json").read_text())
    assert (left["action"], left["configuration"], left["by"]) == ("stop", "c1", "ada")


@pytest.mark.parametrize(
    "asked",
    [
        Asked("purge", "grid-1", "c1"),
        Asked("stop", "../grid-1", "c1"),
        Asked("stop", "grid-1", "--help"),
        Asked("clone", "grid-1", "c1"),
        Asked("clone", "grid-1", "c1", "--warm"),
        Asked("clone", "grid-1", "c1", "lora.r=8 --by=eve"),
    ],
)
def test_anything_else_is_one_sentence_and_leaves_no_request(asked: Asked) -> None:
    folder = written(home(), "grid-1", {})
    with pytest.raises(WordsError):
        experiments.ask(ADA, asked)
    assert not (folder / "requests").exists()


def test_without_an_experiment_there_is_nothing() -> None:
    assert experiments.look("grid-1")["names"] == []
