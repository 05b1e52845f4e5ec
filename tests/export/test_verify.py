"""Every check of a GGUF, on the bundled model and on small broken ones.

Command: .venv/bin/python -m pytest -q tests/export/test_verify.py
Promise: what is right passes; one permuted tensor, another template, another tokenizer each fail the bound of
their name; numbers that are told are the ones that were counted.
"""

import json
import math
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backtalk.errors import ModelError, WordsError
from backtalk.files import read_json, write_jsonl
from export.bounds import DIVERGENCE, EXACT, NEAR, divergence_bound
from export.checks.answers import Item, read_items, rouge_l, score
from export.checks.fidelity import FAR, Sums
from export.checks.serving import measure_serving
from export.checks.template import conversations
from export.convert import convert
from export.picture import draw
from export.quantize import TYPES
from export.verify import main, read_texts, verify, verify_all
from tests.export.small_models import small_folder

MINI = Path(__file__).resolve().parents[2] / "models" / "mini"
CHATS = [
    [{"role": "user", "content": "where is my order 4821?"}, {"role": "assistant", "content": "On its way."}],
    [{"role": "user", "content": "thanks, naïve façade 🙂"}],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_folder(tmp_path / "small")


def f16(folder: Path) -> Path:
    return convert(folder, folder / "small-F16.gguf", "F16")


def test_a_right_conversion_keeps_every_bound(folder: Path) -> None:
    verdict = verify(folder, f16(folder), CHATS)
    assert verdict.failed == []
    assert verdict.bound == EXACT
    assert verdict.templates_equal == verdict.templates == len(conversations()) == 30
    assert verdict.perplexity == pytest.approx(verdict.model_perplexity, rel=1e-3)


def test_one_tensor_in_a_wrong_order_fails_the_bound(folder: Path) -> None:
    """The rows of one layer's q: the mistake that a converter without the rotary order makes."""
    made = f16(folder)
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    weights[name] = np.ascontiguousarray(weights[name].reshape(4, 2, 4, 32).swapaxes(1, 2).reshape(32, 32))
    save_file(weights, folder / "model.safetensors")
    verdict = verify(folder, made, CHATS)
    assert verdict.failed == ["divergence"]
    assert not verdict.holds


def test_a_changed_template_fails_by_its_name(folder: Path) -> None:
    made = f16(folder)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant: ", "assistant:"))
    assert verify(folder, made, CHATS).failed == ["chat template"]


def test_another_tokenizer_fails_by_its_name(folder: Path) -> None:
    made = f16(folder)
    tokenizer = read_json(folder / "tokenizer.json")
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][5:]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "token ids" in verify(folder, made, CHATS).failed


def test_several_files_are_compared_with_one_run_of_the_model(folder: Path) -> None:
    files = [convert(folder, folder / f"small-{type}.gguf", type) for type in ("F16", "Q8_0")]
    both = verify_all(folder, files, CHATS)
    assert both[files[0]] == verify(folder, files[0], CHATS)
    assert both[files[1]].bound == NEAR
    assert both[files[1]].divergence > both[files[0]].divergence


def test_plain_text_is_read_in_pieces(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the parcel is on its way to you today " * 100)
    verdict = verify_all(folder, [made := f16(folder)], read_texts(tmp_path / "text.txt"))[made]
    assert verdict.texts > 1
    assert verdict.failed == []


def test_rows_of_a_curated_set_are_read(tmp_path: Path) -> None:
    question = [{"role": "user", "content": "where?"}]
    write_jsonl(tmp_path / "eval.jsonl", [{"prompt": question, "reference": "Here."}, {"prompt": question}])
    assert read_texts(tmp_path / "eval.jsonl") == [
        [*question, {"role": "assistant", "content": "Here."}],
        question,
    ]
    write_jsonl(tmp_path / "odd.jsonl", [{"text": "x"}])
    with pytest.raises(WordsError, match="line 1"):
        read_texts(tmp_path / "odd.jsonl")


def test_the_command_says_what_failed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), str(f16(folder)), "--bound", "0", "--json"]) == 1
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["failed"] == ["divergence"] and said["holds"] is False
    assert {"probes", "probes_equal", "divergence", "bound", "top_token_equal", "tokens"} <= said.keys()


def test_a_broken_file_is_one_sentence(folder: Path) -> None:
    broken = folder / "broken-F16.gguf"
    broken.write_bytes(f16(folder).read_bytes()[:5000])
    with pytest.raises(ModelError):
        verify(folder, broken, CHATS)


def test_every_type_that_is_made_has_a_bound_and_wider_ones_a_lower_one() -> None:
    assert TYPES.keys() <= DIVERGENCE.keys()
    assert divergence_bound(gguf.LlamaFileType.MOSTLY_F16) == EXACT
    assert divergence_bound(gguf.LlamaFileType.MOSTLY_F16, 3) == EXACT
    assert divergence_bound(gguf.LlamaFileType.MOSTLY_F16, 16) == pytest.approx(16 / 6 * EXACT)
    assert divergence_bound(gguf.LlamaFileType.MOSTLY_Q8_0, 16) == NEAR
    assert divergence_bound(gguf.LlamaFileType.MOSTLY_Q8_0) == NEAR
    narrower = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
    bounds = [DIVERGENCE[type] for type in narrower]
    assert bounds == sorted(bounds)


def test_divergence_and_perplexity_are_the_ones_of_the_book() -> None:
    sums = Sums()
    expected, found = np.log([[0.5, 0.5], [0.9, 0.1]]), np.log([[0.25, 0.75], [0.9, 0.1]])
    sums.add(expected, found, np.array([1]))
    means = sums.means()
    assert means.divergence == pytest.approx((0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75)) / 2)
    assert means.perplexity == pytest.approx(1 / 0.75)
    assert means.model_perplexity == pytest.approx(2)
    assert means.top_token_equal == 0.5


def test_logits_that_are_no_numbers_are_far_off() -> None:
    sums = Sums()
    sums.add(np.log([[0.5, 0.5]]), np.array([[math.nan, math.nan]]), np.array([1]))
    assert sums.means().divergence == sums.means().perplexity == FAR


def test_a_file_is_served_in_a_process_of_its_own() -> None:
    serving = measure_serving(MINI / "mini-Q8_0.gguf")
    assert serving.prompt_tokens_per_second > 0 and serving.tokens_per_second > 0
    assert serving.peak_bytes > serving.anonymous_bytes > 0


def test_a_file_that_cannot_be_served_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="cannot be served"):
        measure_serving(tmp_path / "no.gguf")


def test_items_are_scored_by_what_they_must_say(tmp_path: Path) -> None:
    question = [{"role": "user", "content": "how long?"}]
    rows = [
        {
            "prompt": question,
            "must": ["60 days | sixty days"],
            "must_not": ["30 days"],
            "reference": "60 days.",
        },
        {"prompt": question, "must": ["4 euros"]},
        {"prompt": question, "reference": "You can return it."},
    ]
    write_jsonl(tmp_path / "eval.jsonl", rows)
    found = score(
        read_items(tmp_path / "eval.jsonl"), ["Sixty days.", "It is 24 euros.", "you can, return it"]
    )
    assert (found.items, found.right, found.references) == (2, 1, 2)
    assert found.rouge_l == pytest.approx((0.5 + 1) / 2)
    assert not Item((), (), ("30 days",), "").is_right("Within 30 days.")


def test_rouge_counts_the_longest_common_order_of_words() -> None:
    assert rouge_l("the cat sat on the mat", "the cat on mat") == pytest.approx(2 * 4 / 10)
    assert rouge_l("a b", "b a") == pytest.approx(0.5)
    assert rouge_l("a", "") == 0


def test_the_picture_is_the_same_for_the_same_numbers(tmp_path: Path) -> None:
    rows = {
        "Q8_0": {"bytes": 6_000_000, "divergence": 4e-4, "passed": True},
        "Q2_K": {"bytes": 3_000_000, "divergence": 0.0, "passed": False},
    }
    one, two = draw(rows, tmp_path / "1.png", "mini"), draw(rows, tmp_path / "2.png", "mini")
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes().startswith(b"\x89PNG")
