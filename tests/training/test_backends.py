"""Which libraries train, and why.

Command: python -m pytest tests/training/test_backends.py
Promise: `auto` takes Unsloth on CUDA where it is installed and can train the recipe, and says why it does not
elsewhere; a recipe that asks for it where it cannot train is one sentence with what to do.
"""

import sys
from typing import Any

import pytest

from backtalk.config import from_plain
from backtalk.errors import WordsError
from training import backends
from training.recipe import Recipe


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with Unsloth and a graphics card of today, on which no other library was loaded yet."""
    monkeypatch.setattr(backends, "find_spec", lambda name: name)
    monkeypatch.setattr(backends, "version", lambda name: "2026.10.9")
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    for name in backends.REWRITTEN:
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_auto_takes_unsloth_on_cuda(installed: None) -> None:
    assert backends.choose(recipe(), "cuda") == ("unsloth", "Unsloth 2026.10.9 is installed, on CUDA")


@pytest.mark.parametrize(("device", "named"), [("cpu", "processor"), ("mps", "mps")])
def test_auto_takes_peft_on_other_devices(installed: None, device: Any, named: str) -> None:
    assert backends.choose(recipe(), device) == ("peft", f"it is made for the {named}")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"batch": {"packing": True}}, "Unsloth would let packed conversations see each other"),
        ({"method": ["sft", "kto"]}, "kto and dpo are trained with PEFT alone"),
        ({"precision": "float32"}, "Unsloth would not compute in float32 on CUDA"),
    ],
)
def test_what_unsloth_cannot_train_is_trained_with_peft(
    installed: None, changed: dict[str, Any], why: str
) -> None:
    assert backends.choose(recipe(**changed), "cuda") == ("peft", why)
    with pytest.raises(WordsError, match=f"backend is unsloth, and {why}. .* use backend: peft"):
        backends.choose(recipe(backend="unsloth", **changed), "cuda")


def test_a_card_without_bfloat16_computes_in_float32_with_peft(
    installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: False)
    assert backends.choose(recipe(), "cuda")[0] == "peft"
    assert backends.choose(recipe(precision="float16"), "cuda")[0] == "unsloth"


def test_unsloth_comes_first_or_not_at_all(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert backends.choose(recipe(), "cuda") == ("peft", "Unsloth has to be loaded before transformers is")


def test_a_machine_without_unsloth_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert backends.choose(recipe(), "cuda") == ("peft", "Unsloth is not installed")
    with pytest.raises(WordsError, match="not installed. .* `make setup-unsloth` .* or use backend: peft"):
        backends.load_first(recipe(backend="unsloth"))


def test_the_recipe_has_the_last_word(installed: None) -> None:
    assert backends.choose(recipe(backend="unsloth"), "cpu") == ("unsloth", "the recipe says so")
    assert backends.choose(recipe(backend="peft"), "cuda") == ("peft", "the recipe says so")


def recipe(**changed: Any) -> Recipe:
    return from_plain(Recipe, {"data": {"sources": ["rows.jsonl"]}, **changed}, "the recipe")
