"""Every recipe of the repository runs: two steps of each method, without a network.

Command: python -m pytest tests/training/test_recipes.py
Promise: a recipe's own data (by our samples of them), prompts, filters, adapter and schedule, on the bundled
model where that is its base, else on a tiny Llama or GPT-2; only steps, batches and rows are smaller.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import GPT2Config, GPT2LMHeadModel

from backtalk.card import read_card
from backtalk.home import home
from feedback.curate.curate import Curation, curate
from tests.export.small_models import gpt2_tokenizer, save_tokenizer
from tests.feedback.events import CORRECTION, flag, segment
from tests.training.teaching import finished, small_base, train
from training.recipe import read_recipe
from training.render import Renderer

ROOT = Path(__file__).resolve().parents[2]
RECIPES = [
    path for path in sorted((ROOT / "recipes").glob("*.yaml")) if not path.stem.endswith("_round")
]  # what a round is made of is loaded in tests/backtalk/round


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `--offline` sets is put back after the test."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_for_two_steps_of_each_method(
    path: Path, tmp_path: Path, state_folder: Path, no_network: None
) -> None:
    given = yaml.safe_load(path.read_text())
    if "curated/newest" in path.read_text():
        curated_set(tmp_path)
    assert train(shortened(given, tmp_path), "--offline") == 0
    card = read_card(finished(state_folder))
    methods = read_recipe(path).methods
    assert [stage["method"] for stage in card.metrics["stages"]] == list(methods)
    assert [stage["steps"] for stage in card.metrics["stages"]] == [2] * len(methods)
    assert {"adapter_model.safetensors", "loss.png"} <= {one["path"] for one in card.outputs}


def test_a_base_without_a_chat_template_learns_to_end_its_answer(tmp_path: Path) -> None:
    renderer = Renderer(tiny_gpt2(tmp_path / "gpt2"))
    row = renderer.row(
        {
            "prompt": [{"role": "user", "content": "Question: where is it?\nAnswer:"}],
            "completion": [{"role": "assistant", "content": "here it is"}],
        }
    )
    assert renderer.bare
    asked = renderer.template.tokens([{"role": "user", "content": "Question: where is it?\nAnswer:"}])
    assert row.ids[: len(asked)] == asked and row.learned == len(row.ids) - len(asked)
    assert row.labels[-1] == renderer.template.tokens([{"role": "assistant", "content": ""}])[-1]


def shortened(given: dict[str, Any], folder: Path) -> Path:
    """The recipe with two small steps for each method, rows of at most 256 tokens, a base that is here."""
    given["base"] = {"model": base_in_place_of(given["base"]["model"], folder)}
    given["schedule"] = {**given.get("schedule", {}), "steps": 2}
    given["schedule"].pop("epochs", None)
    for name in {"kto", "dpo"} & given.keys():
        given[name] = {**given[name], "steps": 2, "accumulation": 1}
        given[name].pop("epochs", None)
    given["batch"] |= {"size": 2, "accumulation": 1, "max_length": 256}
    given["data"].setdefault("filters", {})["longest"] = 256
    given["backend"] = "peft"
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(given))
    return path


def base_in_place_of(model: str, folder: Path) -> str:
    if model == "mini":
        return model
    return str(tiny_gpt2(folder / "gpt2") if "gpt2" in model else small_base(folder / "small"))


def curated_set(folder: Path) -> None:
    """The newest curated set: corrections, and 48 votes of both kinds."""
    events = [
        flag(
            f"who{n}",
            "bad" if n % 2 else "good",
            ["factual_error"] if n % 2 else ["clear"],
            correction=f"{CORRECTION} Or {n}." if n % 2 else "",
            question=f"How long can I return item {n}?",
            answer=f"You can return item {n} within {n + 7} days.",
        )
        for n in range(48)
    ]
    curate(Curation(include="all", eval_share=0.0), [segment(folder / "events.jsonl", events)])
    assert list((home() / "curated").glob("*/card.json"))


def tiny_gpt2(folder: Path) -> Path:
    """Two layers of GPT-2 as its repository has it: no chat template, special ids in config.json alone."""
    tokenizer = gpt2_tokenizer()
    save_tokenizer(tokenizer, folder)
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1024}')
    end = tokenizer.token_to_id("<|endoftext|>")
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 1024}
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=tokenizer.get_vocab_size(), bos_token_id=end, eos_token_id=end, **shape)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder
