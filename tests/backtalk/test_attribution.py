"""A model made from Llama says so wherever it is met, and no other model does.

Command: .venv/bin/python -m pytest -q tests/backtalk/test_attribution.py
Promise: the file's own words or its names decide, never the architecture, which the bundled model shares.
"""

from pathlib import Path

import gguf
import pytest

from backtalk.attribution import built_with
from backtalk.files import sha256_of
from backtalk.models import Model, resolve


def made(path: Path, **stated: str) -> Model:
    """A GGUF whose head states these things."""
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in stated.items():
        writer.add_string(f"general.{name}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Model(path.stem, path, sha256_of(path))


@pytest.mark.parametrize(
    "stated",
    [
        {"license": "llama3.2"},
        {"name": "Llama 3.2 1B Instruct"},
        {"base_model.0.repo_url": "https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct"},
    ],
)
def test_what_the_file_states_is_enough(tmp_path: Path, stated: dict[str, str]) -> None:
    assert built_with(made(tmp_path / "desk-Q8_0.gguf", **stated)) == "Built with Llama"


def test_a_name_is_enough_where_the_file_states_nothing(tmp_path: Path) -> None:
    assert built_with(made(tmp_path / "Llama-3.2-1B-Instruct-Q4_K_M.gguf")) == "Built with Llama"


def test_the_architecture_is_not(tmp_path: Path) -> None:
    assert built_with(made(tmp_path / "desk-Q8_0.gguf", name="TinyLlama 1.1B", license="apache-2.0")) == ""
    assert built_with(resolve("mini")) == ""
