"""A REF means one file, and a wrong one is one calm sentence."""

import json
from pathlib import Path

import pytest

from backtalk.errors import ModelError, NetworkError, WordsError
from backtalk.files import sha256_of
from backtalk.home import home
from backtalk.models import MINI, name_of, resolve


def promote(file: str, sha256: str) -> None:
    pointer = {"file": file, "sha256": sha256, "round": 3, "name": "mini-round-3"}
    (home() / "promoted.json").write_text(json.dumps(pointer))


def test_without_a_promoted_model_the_bundled_one_answers() -> None:
    assert (resolve().name, resolve().path) == ("mini", MINI)


def test_a_promoted_model_is_the_default_and_carries_its_round() -> None:
    path = home() / "exports" / "three.gguf"
    path.parent.mkdir()
    path.write_bytes(MINI.read_bytes())
    promote("exports/three.gguf", sha256_of(path))
    assert (resolve().path, resolve().round) == (path, 3)


def test_a_promoted_file_that_changed_is_refused() -> None:
    path = home() / "three.gguf"
    path.write_bytes(b"GGUF but other bytes")
    promote("three.gguf", "0" * 64)
    with pytest.raises(ModelError, match="damaged or not the same file"):
        resolve()


def test_a_path_names_its_quantization() -> None:
    model = resolve(str(MINI))
    assert (model.name, model.quant, model.sha256) == ("mini-Q8_0", "Q8_0", sha256_of(MINI))


@pytest.mark.parametrize(
    ("ref", "error", "sentence"),
    [
        ("min", WordsError, "Did you mean 'mini'"),
        ("promoted", ModelError, "No model has been promoted here yet"),
        ("no/such.gguf", ModelError, "There is no model file at"),
        ("hf://owner/repo", WordsError, "Wanted: hf://owner/repo"),
        ("hf://a/b/c.gguf", NetworkError, "the Hub was not reached"),
        ("llama-3.2-1b", NetworkError, "--model mini"),
    ],
)
def test_a_ref_that_leads_nowhere_is_one_sentence(ref: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        resolve(ref)


def test_a_folder_means_its_only_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds 0 GGUF files"):
        resolve(f"{tmp_path}/")
    (tmp_path / "one-Q4_K_M.gguf").write_bytes(b"GGUF")
    assert resolve(f"{tmp_path}/").quant == "Q4_K_M"


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("openai:http://gpu.example:8000/v1#llama", "llama"),
        ("openai:http://gpu.example:8000/v1", "gpu.example"),
        ("openai:https://user:key@gpu.example/v1/", "gpu.example"),
        ("openai:http://[::1]:8000/v1", "[::1]"),
        ("hf://owner/repo/small-Q8_0.gguf", "small-Q8_0"),
        ("llama-3.2-1b", "llama-3.2-1b"),
    ],
)
def test_visitors_read_a_short_name_and_no_address(ref: str, name: str) -> None:
    assert name_of(ref) == name
    assert not ref.startswith("openai:") or resolve(ref).name == name
