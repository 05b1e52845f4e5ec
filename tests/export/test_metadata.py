"""What a GGUF says of itself, from flags, from README.md and from card.json.

Command: .venv/bin/python -m pytest -q tests/export/test_metadata.py
Promise: the same inputs give the same bytes wherever the folder lies; descent is read from the file alone.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import gguf
import pytest

from backtalk.card import Card, write_card
from backtalk.files import canonical_json, sha256_of, write_text
from export.convert import convert, main
from export.metadata import Metadata, read_metadata
from tests.export.small_models import small_folder

RECIPE = {"round": 3, "seed": 1}
README = """\
---
license: llama3.2
license_link: LICENSE.txt
base_model:
- meta-llama/Llama-3.2-1B-Instruct
---
# A model
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("model") / "small")


def entries(path: Path) -> dict[str, Any]:
    fields = gguf.GGUFReader(path).fields
    return {key: field.contents() for key, field in fields.items() if "tokenizer" not in key}


def with_card(folder: Path, out: Path, *inputs: dict[str, Any]) -> Path:
    shutil.copytree(folder, out)
    write_text(out / "README.md", README)
    write_card(out, Card(kind="merged", id="merged-1", recipe=RECIPE, inputs=list(inputs)))
    return out


def test_flags_are_written_as_they_are_given(folder: Path, tmp_path: Path) -> None:
    main([str(folder), str(tmp_path / "m.gguf"), "--type", "BF16", "--name", "Small", "--version", "7",
          "--license", "mit", "--description", "A small one.", "--base-model", "owner/Base-1B",
          "--round", "2", "--parent-sha256", "ab" * 32, "--recipe-sha256", "cd" * 32])  # fmt: skip
    found = entries(tmp_path / "m.gguf")
    assert found["general.name"] == "Small"
    assert found["general.version"] == "7"
    assert found["general.license"] == "mit"
    assert found["general.description"] == "A small one."
    assert found["general.file_type"] == gguf.LlamaFileType.MOSTLY_BF16
    assert found["general.quantization_version"] == gguf.GGML_QUANT_VERSION
    assert found["general.base_model.0.name"] == "Base-1B"
    assert found["general.base_model.0.organization"] == "owner"
    assert found["general.base_model.0.repo_url"] == "https://huggingface.co/owner/Base-1B"
    assert found["backtalk.round"] == 2
    assert found["backtalk.parent_sha256"] == "ab" * 32
    assert found["backtalk.recipe_sha256"] == "cd" * 32


def test_what_the_folder_says_needs_no_flag(folder: Path, tmp_path: Path) -> None:
    parent = {"role": "base", "path": "base/model.safetensors", "sha256": "ef" * 32}
    found = entries(convert(with_card(folder, tmp_path / "copy", parent), tmp_path / "m.gguf", "F16"))
    assert found["general.license"] == "llama3.2"
    assert found["general.license.link"] == "LICENSE.txt"
    assert found["general.base_model.0.name"] == "Llama-3.2-1B-Instruct"
    assert found["backtalk.round"] == 3
    assert found["backtalk.parent_sha256"] == "ef" * 32
    assert found["backtalk.recipe_sha256"] == hashlib.sha256(canonical_json(RECIPE)).hexdigest()


def test_shards_of_a_parent_have_one_hash_whatever_their_order(folder: Path, tmp_path: Path) -> None:
    shards = [{"role": "base", "path": f"model-{n}.safetensors", "sha256": f"{n}" * 64} for n in (1, 2)]
    one = read_metadata(with_card(folder, tmp_path / "one", *shards))
    two = read_metadata(with_card(folder, tmp_path / "two", *shards[::-1]))
    lines = "".join(f"{str(n) * 64}  model-{n}.safetensors\n" for n in (1, 2))
    assert one.parent_sha256 == two.parent_sha256 == hashlib.sha256(lines.encode()).hexdigest()


def test_a_licence_is_never_invented(folder: Path, tmp_path: Path) -> None:
    assert "general.license" not in entries(convert(folder, tmp_path / "m.gguf", "F16"))


@pytest.mark.parametrize("type", ["F32", "F16", "BF16", "Q8_0"])
def test_the_same_folder_elsewhere_gives_the_same_bytes(folder: Path, tmp_path: Path, type: str) -> None:
    elsewhere = tmp_path / "another name"
    shutil.copytree(folder, elsewhere)
    first = convert(folder, tmp_path / "1.gguf", type, Metadata(version="1"))
    second = convert(elsewhere, tmp_path / "a" / "2.gguf", type, Metadata(version="1"))
    assert sha256_of(first) == sha256_of(second)
    assert str(tmp_path).encode() not in first.read_bytes()


@pytest.mark.parametrize("base", ["/home/somebody/models/base", "./base", "base", 7, None])
def test_a_folder_of_somebodys_machine_is_no_base_model(folder: Path, tmp_path: Path, base: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    write_text(copy / "README.md", f"---\nbase_model: {base}\n---\n")
    assert read_metadata(copy).base_model == ""


@pytest.mark.parametrize("text", ["---\n: [\n---\n", "---\n- a\n---\n", "no head", "---\n"])
def test_prose_in_place_of_a_head_says_nothing(folder: Path, tmp_path: Path, text: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    write_text(copy / "README.md", text)
    assert read_metadata(copy) == Metadata()
