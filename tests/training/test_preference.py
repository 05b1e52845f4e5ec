"""KTO and DPO: what is learned from votes and pairs, against which reference, and when better not at all.

Command: python -m pytest tests/training/test_preference.py
Promise: the losses are TRL's, the reference is the base; a chain that was stopped (or killed: test_killed.py)
ends with the weights of an undisturbed one and repeats no finished method; too few votes, or votes of one
kind, are left out with the reason; every hyper-parameter is said.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from trl import DPOConfig, KTOConfig

from backtalk.card import read_card
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import sha256_of
from export.merge import merge
from tests.export.taught import MINI
from tests.training.teaching import finished, small_base, train
from tests.training.test_recipe import NOT_OURS_TO_SAY
from tests.training.test_train import adapter, interrupting
from tests.training.voting import STEP, VOTES, write_chain
from training.backends import Plan
from training.machine import Numbers
from training.metrics import Metrics, read_metrics
from training.preference import VoteCollator, dpo_config, kto_config
from training.recipe import Kto, Recipe, read_recipe
from training.render import IGNORED, Renderer, Row
from training.stage import Stage
from training.votes import Vote, balance, one_sided, too_few

CPU = Plan("cpu", Numbers(torch.float32, torch.float32, ""), False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_base(tmp_path_factory.mktemp("base") / "small")


@pytest.fixture(scope="module")
def undisturbed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a chain of all three methods that nothing happened to."""
    place = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKTALK_HOME", str(place / "home"))
        assert train(write_chain(place, base, "sft", "kto", "dpo")) == 0
        yield finished(place / "home")


def test_a_chain_teaches_one_adapter_and_its_card_lists_every_method(
    undisturbed: Path, tmp_path: Path
) -> None:
    card = read_card(undisturbed)
    sft, kto, dpo = card.metrics["stages"]
    assert [stage["method"] for stage in (sft, kto, dpo)] == ["sft", "kto", "dpo"]
    assert [stage["steps"] for stage in (sft, kto, dpo)] == [4, 5, 5]
    assert (kto["good"], kto["bad"], kto["desirable_weight"], kto["undesirable_weight"]) == (13, 13, 1.0, 1.0)
    assert kto["reference"] == dpo["reference"] == "base"
    steps = read_metrics(undisturbed)
    assert [row["step"] for row in steps] == list(range(1, 15))
    assert dpo["margin_of_last_tenth"] > 0.1 and dpo["accuracy_of_last_tenth"] == 1.0
    assert card.metrics["loss"] == dpo["loss"] == steps[-1]["loss"]
    assert {one["path"] for one in card.outputs} >= {"adapter_model.safetensors", "loss.png", "metrics.jsonl"}
    assert not list(undisturbed.glob("**/ref")) and not list(undisturbed.parent.glob("*.parts"))
    merge(undisturbed, tmp_path / "merged")
    assert read_card(tmp_path / "merged").metrics["taught"] == 14


def test_votes_move_good_answers_above_bad_ones(base: Path, tmp_path: Path, state_folder: Path) -> None:
    changed = {"size": 26, "steps": 8, "rate": 0.01}
    assert train(write_chain(tmp_path, base, "kto", kto=changed)) == 0
    first, *_, last = read_metrics(finished(state_folder))
    assert first["loss"] == pytest.approx(0.5)  # model and reference are still the same
    assert first["margin"] == pytest.approx(0.0, abs=1e-6)
    assert last["loss"] < 0.49 and last["margin"] > 0.05


@pytest.mark.parametrize("method", ["kto", "dpo"])
def test_the_likelihood_of_answers_alone_gives_the_losses_of_trl(
    method: str, base: Path, tmp_path: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_chain(tmp_path, base, method)
    assert train(recipe) == 0
    ours = read_metrics(finished(state_folder))
    monkeypatch.setattr("training.preference.can_learn_by_places", lambda model: False)
    assert train(recipe, "--fresh") == 0
    theirs = read_metrics(finished(state_folder))
    for name in ("loss", "reward_of_better", "reward_of_worse", "gradient_norm"):
        found, wanted = ([row[name] for row in rows if name in row] for rows in (ours, theirs))
        assert found == pytest.approx(wanted, rel=1e-3, abs=1e-5)


def test_the_reference_of_a_chain_is_the_base(base: Path, tmp_path: Path, state_folder: Path) -> None:
    whole = {"size": 26, "steps": 1, "rate": 0.01}
    assert train(write_chain(tmp_path, base, "sft")) == 0
    taught = finished(state_folder)
    steps = metrics_of_chain(write_chain(tmp_path, base, "sft", "kto", kto=whole), state_folder)
    good = [vote for vote in VOTES if vote["label"]]
    pairs = zip(likelihoods(base, good, taught), likelihoods(base, good), strict=True)
    gained = [after - before for after, before in pairs]
    assert abs(sum(gained)) > 1
    assert steps[-1]["reward_of_better"] == pytest.approx(0.1 * sum(gained) / len(good), rel=1e-3)


def test_a_run_that_starts_from_an_earlier_one_has_it_as_reference(
    base: Path, tmp_path: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(write_chain(tmp_path, base, "sft")) == 0
    before = finished(state_folder)
    changed = {
        "start": before.name,
        "kto": {"size": 26, "steps": 3, "rate": 0.01},
        "checkpoints": {"every": 1},
    }
    recipe = write_chain(tmp_path, base, "kto", **changed)
    steps = metrics_of_chain(recipe, state_folder)
    assert steps[0]["loss"] == pytest.approx(0.5) and steps[0]["margin"] == pytest.approx(0.0, abs=1e-6)
    (run,) = set(state_folder.glob("runs/*")) - {before}
    card, weights = read_card(run), "adapter_model.safetensors"
    assert card.metrics["stages"][0]["reference"] == before.name
    assert {one["path"]: one["sha256"] for one in card.inputs if one.get("role") == "adapter"}[
        weights
    ] == sha256_of(before / weights)
    undisturbed = sha256_of(run / weights)
    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "add", interrupting(Metrics.add, at=1))
        assert train(recipe, "--fresh") == 130
    assert train(recipe) == 0
    assert sha256_of(run / weights) == undisturbed != sha256_of(before / weights)
    with pytest.raises(WordsError, match=r"lora\.r 4 and the recipe that starts from it 8"):
        train(write_chain(tmp_path, base, "kto", **{**changed, "lora": {"r": 8}}))


def test_a_finished_method_is_not_repeated(
    base: Path, undisturbed: Path, tmp_path: Path, state_folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recipe = write_chain(tmp_path, base, "sft", "kto", "dpo")
    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "add", interrupting(Metrics.add, at=6))
        assert train(recipe) == 130
    assert "step 7 of 14" in capsys.readouterr().err
    assert train(recipe) == 0
    told = capsys.readouterr().err
    assert "kto, 26 rows, 5 steps, going on after 3" in told
    assert ": sft, " not in told and ": dpo, " in told
    assert adapter(state_folder) == sha256_of(undisturbed / "adapter_model.safetensors")
    assert [row["step"] for row in read_metrics(finished(state_folder))] == list(range(1, 15))


def test_of_too_few_votes_a_chain_learns_nothing_and_says_so(
    base: Path, tmp_path: Path, state_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {"kto": {**STEP, "fewest": 30}, "schedule": {"steps": 1}}
    assert train(write_chain(tmp_path, base, "sft", "kto", **changed)) == 0
    why = "there are 26 labelled answers, and 30 are wanted before a model learns from them"
    assert f"kto is left out: {why}; collect more flags first." in capsys.readouterr().err
    assert read_card(finished(state_folder)).metrics["stages"][1]["left_out"].startswith(why)
    with pytest.raises(BacktalkError, match=rf"^There is nothing to learn from. Kto: {why}[^\n]*$"):
        train(write_chain(tmp_path, base, "kto", **changed))


def test_without_votes_or_with_votes_of_one_kind_nothing_is_learned() -> None:
    row = Row([1, 2], [IGNORED, 2])
    assert too_few(20, 20, "pairs") == ""
    assert too_few(0, 20, "pairs").startswith("there are no pairs")
    assert one_sided([Vote(row, True), Vote(row, False)]) == ""
    assert one_sided([Vote(row, True)] * 30).startswith("all 30 answers were called good, and KTO needs bad")
    assert one_sided([Vote(row, False)] * 30).startswith("all 30 answers were called bad, and KTO needs good")


@pytest.mark.parametrize(
    ("good", "bad", "weights"),
    [(50, 50, (1, 1)), (57, 43, (1, 1)), (60, 40, (1, 1.5)), (40, 60, (1.5, 1)), (49, 51, (1.0408, 1))],
)
def test_weights_follow_from_the_counts(good: int, bad: int, weights: tuple[float, float]) -> None:
    votes = [Vote(Row([1], [1]), True)] * good + [Vote(Row([1], [1]), False)] * bad
    found = balance(votes, Kto())
    assert (found.desirable, found.undesirable) == weights
    assert 0.999 <= found.desirable * good / (found.undesirable * bad) <= 4 / 3
    assert balance(votes, Kto(undesirable=2.0)).undesirable == 2.0


def test_an_answer_is_measured_against_its_neighbours_questions() -> None:
    renderer = Renderer(MINI)
    rows = [renderer.row(vote) for vote in (VOTES[0], VOTES[3], VOTES[4])]
    votes = [{"input_ids": row.ids, "labels": row.labels, "label": True, "weight": 0.5} for row in rows]
    batch = VoteCollator(0)(votes)
    for place, row in enumerate(rows):
        own, other = split(row), split(rows[place - 1])
        assert learned(batch, "", place) == own[1]
        assert learned(batch, "KL_", place) == other[1]
        assert batch["KL_input_ids"][place].tolist()[: len(own[0] + other[1])] == own[0] + other[1]
    assert batch["weight"].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kto: {size: 1}", "kto.size is 1; at least 2 was wanted"),
        ("kto: {desirable: 2, undesirable: 2}", "only their ratio counts"),
        ("kto: {rate: 0}", "kto.rate is 0"),
        ("dpo: {steps: 3, epochs: 1}", "leave one of them out"),
        ("dpo: {loss: [sigmoid, stf]}", "dpo.loss"),
        ("dpo: {loss: [sigmoid, sft], weights: [1]}", "2 terms and dpo.weights 1"),
        ("dpo: {label_smoothing: 0.1}", "for the loss 'robust' alone"),
        ("method: [kto, kto]", "has a method twice"),
        ("kto: {betta: 1}", "Did you mean 'kto.beta'?"),
    ],
)
def test_what_is_off_is_told_in_one_sentence(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(WordsError, match="^[^\n]*$") as fault:
        read_recipe(tmp_path / "recipe.yaml")
    assert told in str(fault.value)


@pytest.mark.parametrize(("make", "kind"), [(kto_config, KTOConfig), (dpo_config, DPOConfig)])
def test_nothing_that_is_learned_depends_on_trls_defaults(
    make: Any, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: set[str] = set()
    monkeypatch.setattr(f"training.preference.{kind.__name__}", lambda **given: said.update(given))
    votes = [Vote(Row([1, 2], [IGNORED, 2]), good) for good in (True, False)]
    make(Stage(Recipe(name="all").of("kto"), None, [], votes, []), CPU, Path())  # type: ignore[arg-type]
    of_references_we_do_not_have = {
        "precompute_ref_batch_size", "ref_model_mixup_alpha", "ref_model_sync_steps",
    }  # fmt: skip
    of_losses_we_do_not_have = {"discopop_tau", "f_alpha_divergence_coef"}
    unsaid = {field.name for field in dataclasses.fields(kind)} - said - set(NOT_OURS_TO_SAY.split())
    assert not unsaid - of_references_we_do_not_have - of_losses_we_do_not_have


def metrics_of_chain(recipe: Path, home: Path) -> list[dict[str, Any]]:
    before = set(home.glob("runs/*/card.json"))
    assert train(recipe) == 0
    (card,) = set(home.glob("runs/*/card.json")) - before
    return read_metrics(card.parent)


def likelihoods(base: Path, votes: list[dict[str, Any]], taught: Path | None = None) -> list[float]:
    """The logarithm of each answer's probability, computed as plainly as can be."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if taught:
        model = PeftModel.from_pretrained(model, taught)
    renderer = Renderer(base)
    return [likelihood(model.eval(), renderer.row(vote)) for vote in votes]


def likelihood(model: Any, row: Row) -> float:
    with torch.inference_mode():
        scores = model(torch.tensor([row.ids])).logits[0, :-1].log_softmax(-1)
    return sum(float(scores[place, label]) for place, label in enumerate(row.labels[1:]) if label != IGNORED)


def split(row: Row) -> tuple[list[int], list[int]]:
    """Question and answer of a row."""
    start = next(place for place, label in enumerate(row.labels) if label != IGNORED)
    return row.ids[:start], row.ids[start:]


def learned(batch: dict[str, Any], prefix: str, place: int) -> list[int]:
    mask = batch[f"{prefix}completion_mask"][place].bool()
    return batch[f"{prefix}input_ids"][place][mask].tolist()
