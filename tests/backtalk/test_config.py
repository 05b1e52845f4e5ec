"""Settings: one home for each knob, and a typo is an error that names the right word."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from backtalk.config import REQUIRED, add_flags, from_plain, from_sources, knob, section, to_plain
from backtalk.errors import WordsError
from backtalk.verb import Parser


@dataclass(frozen=True)
class Adapter:
    rank: int = knob(16, "size of the adapter")
    targets: tuple[str, ...] = knob(("q_proj", "v_proj"), "which projections it adapts")


@dataclass(frozen=True)
class Recipe:
    base: Path = knob(REQUIRED, "folder of the base model")
    method: Literal["sft", "kto"] = knob("sft", "how it learns")
    steps: int = knob(100, "optimiser steps")
    learning_rate: float = knob(2e-4, "peak learning rate, 5 % of the steps after the start")
    packing: bool = knob(False, "several rows in one sequence")
    limit: int | None = knob(None, "rows at most")
    layers: str | tuple[str, ...] = knob("all", "all, or a list")
    adapter: Adapter = section(Adapter)

    def __post_init__(self) -> None:
        if self.method == "kto" and self.packing:
            raise WordsError("'packing' goes with method sft; it was given with kto.")


def parse(*words: str) -> dict[str, object]:
    parser = Parser("train", "One run.")
    add_flags(parser, Recipe)
    return vars(parser.parse_args(words))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


def test_a_flag_beats_the_file_and_the_file_beats_the_default(recipe: Path) -> None:
    recipe.write_text("base: models/mini\nsteps: 200\nadapter: {rank: 8}\n")
    made = from_sources(Recipe, recipe, parse("--steps", "300", "--adapter.targets", "q_proj, k_proj"))
    assert made == Recipe(
        base=Path("models/mini"), steps=300, adapter=Adapter(rank=8, targets=("q_proj", "k_proj"))
    )


def test_what_is_stored_gives_the_same_settings_back(recipe: Path) -> None:
    recipe.write_text("base: models/mini\nlimit: 7\n")
    made = from_sources(Recipe, recipe)
    plain = to_plain(made)
    assert plain["base"] == "models/mini" and plain["adapter"]["targets"] == ["q_proj", "v_proj"]
    assert from_plain(Recipe, plain, "card.json") == made


def test_every_kind_of_flag_is_read() -> None:
    flags = parse(
        "--base", "b", "--method", "kto", "--learning-rate", "1e-4", "--no-packing", "--limit", "none"
    )
    made = from_sources(Recipe, None, flags)
    assert (made.base, made.method, made.learning_rate) == (Path("b"), "kto", 1e-4)
    assert made.packing is False and made.limit is None


def test_help_tells_the_default_of_each_knob() -> None:
    parser = Parser("train", "One run.")
    add_flags(parser, Recipe)
    text = " ".join(parser.format_help().split())
    assert "--steps N optimiser steps (default: 100)" in text
    assert "5 % of the steps after the start (default: 0.0002)" in text
    assert "--adapter.targets TEXT,... which projections it adapts (default: q_proj,v_proj)" in text
    assert "--method sft|kto how it learns (default: sft)" in text
    assert "--base PATH folder of the base model --" in text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("base: b\nstep: 3", "has the key 'step', which does not exist. Did you mean 'steps'?"),
        ("base: b\nadapter: {rnk: 3}", "has the key 'adapter.rnk', which does not exist. Did you mean"),
        ("steps: 3", "lacks the key 'base' (folder of the base model)."),
        ("base: b\nsteps: ten", "'steps' should be a whole number, but 'ten' was found."),
        ("base: b\nsteps: 1.5", "'steps' should be a whole number, but 1.5 was found."),
        ("base: b\nsteps: true", "'steps' should be a whole number, but true was found."),
        ("base: b\nsteps:", "'steps' should be a whole number, but nothing was found."),
        ("base: b\nlearning_rate: .nan", "'learning_rate' should be a number, but nan was found."),
        ("base: b\nlearning_rate: fast", "'learning_rate' should be a number, but 'fast' was found."),
        ("base: b\npacking: 1", "'packing' should be true or false, but 1 was found."),
        ("base: b\nlimit: x", "'limit' should be a whole number or none, but 'x' was found."),
        ("base: b\nmethod: kt", "should be one of sft, kto, but 'kt' was found. Did you mean 'kto'?"),
        ("base: b\nadapter: 3", "'adapter' should be keys with values, but 3 was found."),
        ("base: b\nadapter: {targets: q_proj}", "should be a list, each item text, but 'q_proj' was found."),
        ("base: b\nbase: c", "line 2, the key 'base' stands twice."),
        ("- b", "holds the list ['b']; keys with values were expected."),
        ("base: [", "is not valid YAML: line 1,"),
        ("base: b\nmethod: kto\npacking: true", "'packing' goes with method sft; it was given with kto."),
    ],
)
def test_a_fault_in_a_recipe_is_one_sentence(recipe: Path, text: str, sentence: str) -> None:
    recipe.write_text(text)
    with pytest.raises(WordsError) as fault:
        from_sources(Recipe, recipe)
    assert sentence in str(fault.value)


def test_a_recipe_that_is_not_there_or_not_text_is_one_sentence(recipe: Path) -> None:
    with pytest.raises(WordsError, match="cannot be read"):
        from_sources(Recipe, recipe)
    recipe.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WordsError, match="is not UTF-8 text"):
        from_sources(Recipe, recipe)


def test_a_number_without_a_dot_is_a_number(recipe: Path) -> None:
    recipe.write_text("base: b\nlearning_rate: 1e-4")
    assert from_sources(Recipe, recipe).learning_rate == 1e-4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--steps", "ten"), "argument --steps: should be a whole number, but 'ten' was given."),
        (("--method", "stf"), "should be one of sft, kto, but 'stf' was given. Did you mean 'sft'?"),
        (("--limit", "1.5"), "should be a whole number or none, but '1.5' was given."),
        (("--adapter.rnk", "3"), "has no flag '--adapter.rnk'. Did you mean '--adapter.rank'?"),
    ],
)
def test_a_fault_in_a_flag_is_one_sentence(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(WordsError) as fault:
        parse(*words)
    assert sentence in str(fault.value)


@pytest.mark.parametrize(("text", "value"), [("all", "all"), ("q_proj,v_proj", ("q_proj", "v_proj"))])
def test_a_comma_makes_a_list_where_a_word_or_a_list_may_stand(text: str, value: object) -> None:
    assert parse("--layers", text) == {"layers": value}
