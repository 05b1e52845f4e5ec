"""Tokenizers on their way into a GGUF: what is written, and what is refused because it would read otherwise.

Command: .venv/bin/python -m pytest -q tests/export/test_tokenizer.py
Promise: a tokenizer that llama.cpp would read differently never becomes a GGUF. That ids are equal where one
is written is shown in test_architectures.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest

from backtalk.errors import BacktalkError, ModelError
from backtalk.files import read_json
from export.tokenizer import write_tokenizer
from tests.export.small_models import (
    gpt2_tokenizer,
    llama2_tokenizer,
    llama3_tokenizer,
    model_file,
    save_tokenizer,
    sentence_pieces,
    write,
)

Json = dict[str, Any]


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama3")
    save_tokenizer(llama3_tokenizer(), folder)
    return folder


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama2")
    save_tokenizer(llama2_tokenizer(), folder)
    return folder


def written(folder: Path, size: int = 600, model: Json | None = None) -> Json:
    """What the writer was given, by key without `tokenizer.`"""
    writer = gguf.GGUFWriter(None, "llama")
    write_tokenizer(writer, folder, size, model)
    return {key.removeprefix("tokenizer."): entry.value for key, entry in writer.kv_data[0].items()}


def changed(folder: Path, out: Path, change: Callable[[Json], object]) -> Path:
    """A copy of the folder with a change of tokenizer.json."""
    out.mkdir(exist_ok=True)
    for path in folder.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    tokenizer = read_json(out / "tokenizer.json")
    change(tokenizer)
    write(out / "tokenizer.json", tokenizer)
    return out


@pytest.mark.parametrize(
    ("make", "pre"),
    [
        (llama3_tokenizer, "llama-bpe"),
        (lambda: llama3_tokenizer(ignore_merges=False), "smaug-bpe"),
        (gpt2_tokenizer, "gpt-2"),
    ],
)
def test_the_rule_that_splits_text_is_named_by_itself(
    tmp_path: Path, make: Callable[[], Any], pre: str
) -> None:
    save_tokenizer(make(), tmp_path)
    entries = written(tmp_path)
    assert (entries["ggml.model"], entries["ggml.pre"]) == ("gpt2", pre)


def test_added_tokens_do_not_change_the_rule(byte_level: Path, tmp_path: Path) -> None:
    token = {"id": 550, "content": "<|new|>", "special": True}
    entries = written(changed(byte_level, tmp_path, lambda one: one["added_tokens"].append(token)))
    assert entries["ggml.pre"] == "llama-bpe"
    assert entries["ggml.tokens"][550] == "<|new|>"
    assert entries["ggml.token_type"][550] == gguf.TokenType.CONTROL
    assert entries["ggml.token_type"][551] == gguf.TokenType.UNUSED


def test_pieces_have_the_scores_of_their_merges(pieces: Path) -> None:
    entries = written(pieces)
    tokens, scores = entries["ggml.tokens"], entries["ggml.scores"]
    assert entries["ggml.model"] == "llama"
    assert entries["ggml.add_space_prefix"] is True
    assert entries["ggml.token_type"][0] == gguf.TokenType.UNKNOWN
    ranked = [word for _, word in sorted(zip(scores, tokens, strict=True), reverse=True) if word]
    learned = [word for word, score, kind in sentence_pieces() if kind == 1 and len(word) > 1]
    assert ranked[: len(learned)] == learned


def test_a_tokenizer_model_says_what_its_tokenizer_json_says(pieces: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(model_file(sentence_pieces()))
    (tmp_path / "tokenizer_config.json").write_bytes((pieces / "tokenizer_config.json").read_bytes())
    found, expected = written(tmp_path), written(pieces)
    for key in ("ggml.model", "ggml.tokens", "ggml.token_type", "ggml.bos_token_id", "ggml.eos_token_id"):
        assert found[key] == expected[key], key
    merged = [
        place
        for place, word in enumerate(found["ggml.tokens"][:500])
        if expected["ggml.scores"][place] > -1000
    ]
    assert len(merged) > 100
    by_score = [sorted(merged, key=lambda place: -side["ggml.scores"][place]) for side in (found, expected)]
    assert by_score[0] == by_score[1]


@pytest.mark.parametrize("length", [0, 3, 40, -1])
def test_a_tokenizer_model_cut_short_is_one_sentence(tmp_path: Path, length: int) -> None:
    (tmp_path / "tokenizer.model").write_bytes(model_file(sentence_pieces())[:length])
    with pytest.raises(ModelError):
        written(tmp_path)


def test_a_unigram_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(model_file(sentence_pieces(), kind=1))
    with pytest.raises(ModelError, match="BPE was wanted"):
        written(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.update(normalizer={"type": "NFC"}), "NFC"),
        (lambda one: one["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix"),
        (lambda one: one["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(Regex="x+"), "no name here"),
        (lambda one: one["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True), "no name here"),
        (lambda one: one.update(pre_tokenizer=None), "no name here"),
        (lambda one: one["model"].update(type="WordPiece"), "WordPiece"),
        (lambda one: one["model"]["merges"].append("a b c"), "two words"),
        (lambda one: one["model"]["vocab"].update(beyond=600), "ids up to 600"),
        (lambda one: one["added_tokens"].append({"id": 9}), "not a whole tokenizer"),
        (
            lambda one: one["added_tokens"].append(
                {"id": 560, "content": "x", "special": False, "lstrip": True}
            ),
            "lstrip",
        ),
    ],
)
def test_a_byte_level_tokenizer_that_would_read_otherwise_is_refused(
    byte_level: Path, tmp_path: Path, change: Callable[[Json], object], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        written(changed(byte_level, tmp_path, change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one["model"]["merges"].pop(), "stay apart"),
        (lambda one: one["model"]["merges"].append(one["model"]["merges"][0]), "order"),
        (lambda one: one.update(normalizer={"type": "NFKC"}), "NFKC"),
        (lambda one: one.update(normalizer=None), "write spaces"),
        (lambda one: one["model"]["vocab"].pop("<0x41>"), "255 of 256"),
    ],
)
def test_pieces_that_would_be_read_otherwise_are_refused(
    pieces: Path, tmp_path: Path, change: Callable[[Json], object], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        written(changed(pieces, tmp_path, change))


def test_special_ids_are_taken_from_the_model_where_the_tokenizer_names_none(
    byte_level: Path, tmp_path: Path
) -> None:
    folder = changed(byte_level, tmp_path, lambda one: None)
    (folder / "tokenizer_config.json").unlink()
    entries = written(folder, model={"eos_token_id": [499, 498], "bos_token_id": 498, "pad_token_id": 9000})
    assert entries["ggml.eos_token_id"] == 499
    assert entries["ggml.bos_token_id"] == 498
    assert "ggml.padding_token_id" not in entries


def test_a_folder_without_a_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no tokenizer.json and no tokenizer.model"):
        written(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": 3}'])
def test_a_tokenizer_json_that_is_none_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(BacktalkError):
        written(tmp_path)
