"""Round recipes: those of the repository are read, a typo is an error, what is not there is named.

Command: python -m pytest tests/backtalk/round/test_recipe.py
Promise: every recipes/*_round.yaml loads and names a training recipe that loads too.
"""

from pathlib import Path

import pytest

from backtalk.config import from_sources
from backtalk.errors import WordsError
from backtalk.round.recipe import RoundRecipe, files_of, found, read_round_recipe
from training.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[3]
RECIPES = sorted((ROOT / "recipes").glob("*_round.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_of_the_repository_loads_with_its_training(path: Path) -> None:
    recipe = from_sources(RoundRecipe, path)
    training = read_recipe(ROOT / recipe.train.recipe)
    assert any(source.path == "curated/newest" for source in training.data.sources)
    assert recipe.gate.task and recipe.gate.general


def test_the_miniatures_recipe_names_files_that_are_there() -> None:
    recipe = read_round_recipe(ROOT / "recipes" / "mini_round.yaml")
    assert all((ROOT / path).is_file() for path in files_of(recipe))


def test_a_round_can_be_run_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert found(Path("recipes/mini_round.yaml")) == ROOT / "recipes" / "mini_round.yaml"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("evl_share: 0.2", "has the key 'evl_share', which does not exist. Did you mean 'eval_share'?"),
        ("replay: {share: 0.5}", "both are wanted (share or rows, and source), or none."),
        ("gate: {task: [nowhere.jsonl]}", "names the file nowhere.jsonl, which is not there."),
        ("gate: {}", "names no task test"),
    ],
)
def test_what_is_off_in_a_recipe_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "round.yaml").write_text(text)
    with pytest.raises(WordsError) as fault:
        read_round_recipe(tmp_path / "round.yaml")
    assert sentence in str(fault.value)
