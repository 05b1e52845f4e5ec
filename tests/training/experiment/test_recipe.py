"""An experiment's recipe: which lists are choices, and what they make.

Command: python -m pytest tests/training/experiment/test_recipe.py
Promise: a value that may be one may be a list; lists that belong together change together; what is off is one
sentence; every experiment of the repository can be read.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from backtalk.errors import WordsError
from training.experiment.expand import expand
from training.experiment.recipe import Asked, read_experiment

RECIPES = sorted((Path(__file__).resolve().parents[3] / "recipes" / "experiments").glob("*.yaml"))
SOURCES = {"sources": [{"name": "samsum"}], "evaluation": [{"name": "samsum", "split": "validation"}]}


def read(folder: Path, changes: dict[str, Any] | None = None, scale: float = 1.0, **given: Any) -> Asked:
    path = folder / "asked.yaml"
    path.write_text(yaml.safe_dump({"data": SOURCES, **given}))
    return read_experiment(path, changes, scale)


def test_every_combination_of_the_lists_is_a_configuration(tmp_path: Path) -> None:
    asked = read(tmp_path, lora={"r": [4, 8], "alpha_over_r": 2}, optimiser={"rate": [1e-3, "5e-4"]})
    made = expand(asked)
    assert [one.name for one in made] == ["c1", "c2", "c3", "c4"]
    assert {(one.changes["lora.r"], one.changes["optimiser.rate"]) for one in made} == {
        (r, rate) for r in (4, 8) for rate in (1e-3, 5e-4)
    }
    recipe = asked.recipe("c4", made[3].changes)
    assert (recipe.lora.r, recipe.lora.effective_alpha, recipe.optimiser.rate) == (8, 16, 5e-4)


def test_a_knob_that_is_a_list_itself_is_one_value(tmp_path: Path) -> None:
    asked = read(tmp_path, lora={"targets": ["q_proj", "v_proj"]}, method=["sft", "kto"])
    assert not asked.knobs and asked.recipe("one", {}).lora.targets == ("q_proj", "v_proj")
    asked = read(tmp_path, lora={"targets": ["qv", "all-linear"]}, method=[["sft"], ["sft", "kto"]])
    assert {one.name: len(one.values) for one in asked.knobs} == {"lora.targets": 2, "method": 2}
    assert asked.recipe("last", expand(asked)[-1].changes).methods == ("sft", "kto")


def test_a_prompt_changes_in_training_and_evaluation_together(tmp_path: Path) -> None:
    both = ["summary", "summary_bare"]
    data = {
        "sources": [{"name": "samsum", "prompt": both}],
        "evaluation": [{"name": "samsum", "split": "validation", "prompt": both}],
    }
    search = {"test": [{"name": "samsum", "split": "test", "prompt": both}]}
    asked = read(tmp_path, data=data, experiment=search)
    assert len(expand(asked)) == 2 and asked.tests == 1
    recipe = asked.recipe("c2", expand(asked)[1].changes)
    prompts = {source.prompt for source in (*recipe.data.sources, *recipe.data.evaluation)}
    assert prompts == {"summary_bare"} and len(recipe.data.evaluation) == 2
    data["evaluation"][0]["prompt"] = both[::-1]
    with pytest.raises(WordsError, match="change together"):
        read(tmp_path, data=data)


def test_a_random_search_draws_different_combinations_by_the_seed(tmp_path: Path) -> None:
    grid = {"lora": {"r": list(range(1, 40))}, "optimiser": {"rate": [1e-3, 1e-4, 1e-5]}}
    search = {"search": "random", "trials": 10}
    drawn = [dict(one.changes) for one in expand(read(tmp_path, experiment=search, seed=3, **grid))]
    assert len({str(one) for one in drawn}) == 10
    assert drawn == [dict(one.changes) for one in expand(read(tmp_path, experiment=search, seed=3, **grid))]
    assert drawn != [dict(one.changes) for one in expand(read(tmp_path, experiment=search, seed=4, **grid))]
    few = {"search": "random", "trials": 500}
    assert len(expand(read(tmp_path, experiment=few, **grid))) == 117


def test_listed_configurations_change_what_they_say(tmp_path: Path) -> None:
    listed = [{"schedule.steps": 60}, {"lora.r": 32, "optimiser.rate": "5e-4"}]
    asked = read(tmp_path, experiment={"search": "listed", "configurations": listed})
    made = [asked.recipe(one.name, one.changes) for one in expand(asked)]
    assert [one.schedule.steps for one in made] == [60, None]
    assert (made[1].lora.r, made[1].optimiser.rate) == (32, 5e-4)


def test_a_scale_shortens_every_number_of_steps(tmp_path: Path) -> None:
    listed = [{"schedule.steps": 60}, {"schedule.steps": 1000}]
    search = {"search": "listed", "configurations": listed, "chunk": 20}
    asked = read(tmp_path, scale=0.01, experiment=search, schedule={"steps": 500})
    assert [one.changes["schedule.steps"] for one in expand(asked)] == [1, 10]
    assert (asked.search.chunk, asked.recipe("one", {}).schedule.steps) == (1, 5)


def test_growing_chunks_compare_early_and_then_rarely(tmp_path: Path) -> None:
    search = read(tmp_path, experiment={"chunk": 4, "growing": True}).search
    assert [step for step in range(1, 70) if search.ends_chunk(step)] == [4, 8, 16, 32, 64]
    search = read(tmp_path, experiment={"chunk": 4}).search
    assert [step for step in range(1, 17) if search.ends_chunk(step)] == [4, 8, 12, 16]


def test_optuna_names_values_of_the_lists_and_the_same_ones_again(tmp_path: Path) -> None:
    search = {"search": "optuna", "trials": 6, "at_once": 3}
    asked = read(tmp_path, experiment=search, lora={"r": [2, 4, 8]}, optimiser={"rate": [1e-3, 1e-4]})
    named = [dict(one.changes) for one in expand(asked)]
    assert len(named) == 3 and all(one["lora.r"] in (2, 4, 8) for one in named)
    assert named == [dict(one.changes) for one in expand(asked)]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"lora": {"rank": [4, 8]}}, "Did you mean 'lora.r"),
        ({"lora": {"r": [4, 4]}}, "has a value twice"),
        ({"lora": {"r": [4, 0]}}, "lora.r is 0"),
        ({"experiment": {"chunks": 3}}, "Did you mean 'chunk'"),
        ({"experiment": {"search": "listed"}}, "Give both or neither"),
        ({"experiment": {"search": "listed", "configurations": [{"lorra.r": 3}]}}, "Did you mean 'lora'"),
        ({"experiment": {"dev_items": 1}}, "at least 2 was wanted"),
    ],
)
def test_what_is_off_is_one_sentence(tmp_path: Path, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WordsError, match=sentence):
        asked = read(tmp_path, **given)
        for one in expand(asked):
            asked.recipe(one.name, one.changes)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_configuration_of_a_seed_can_be_made(path: Path) -> None:
    asked = read_experiment(path)
    made = [asked.recipe(one.name, one.changes) for one in expand(asked)]
    wanted = {
        "samsum_gpt2_prompt_rank_lr": 8, "bitext_gpt2_rank_lr_targets": 32,
        "finetome_llama32_steps_lr_rank": 9, "llama32_lr_rank": 4,
    }  # fmt: skip
    assert len(made) == wanted[path.stem]
    assert path.read_text().startswith(f"# backtalk experiment run recipes/experiments/{path.name}\n")
