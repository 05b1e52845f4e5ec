"""Other architectures by a llama.cpp checkout: found or not, its words passed on, its file looked at.

Command: .venv/bin/python -m pytest -q tests/export/test_checkout.py
Promise: the checkout's script runs with the checkout's own gguf-py, in a process of its own, and a file that
is not a whole GGUF never gets a name.
"""

from pathlib import Path

import pytest

from backtalk.errors import ModelError
from export.checkout import SCRIPT, convert_with
from export.convert import convert, main
from tests.export.small_models import small_folder, write

COPIES = """\
import os, shutil, sys
import gguf
print("loading", file=sys.stderr)
assert gguf.IS_OF_THE_CHECKOUT and os.environ["HF_HUB_OFFLINE"] == "1"
arguments = dict(zip(sys.argv[2::2], sys.argv[3::2]))
assert arguments["--outtype"] == "f16", arguments
shutil.copy(os.path.join(sys.argv[1], "made.gguf"), arguments["--outfile"])
"""


def checkout(folder: Path, script: str = COPIES) -> Path:
    """A checkout with a converter that copies a file which lies beside the weights."""
    (folder / "gguf-py" / "gguf").mkdir(parents=True)
    (folder / "gguf-py" / "gguf" / "__init__.py").write_text("IS_OF_THE_CHECKOUT = True\n")
    (folder / SCRIPT).write_text(script)
    return folder


def test_an_unknown_architecture_says_how_a_checkout_is_given(tmp_path: Path) -> None:
    write(tmp_path / "config.json", {"architectures": ["MambaForCausalLM"]})
    with pytest.raises(ModelError) as told:
        convert(tmp_path, tmp_path / "out.gguf")
    for word in ("MambaForCausalLM", "LlamaForCausalLM", "GPT2LMHeadModel", "--llama-cpp DIR"):
        assert word in str(told.value)


@pytest.mark.parametrize("names", [None, [], [7], "Llama", {}])
def test_a_model_without_a_class_is_one_sentence(tmp_path: Path, names: object) -> None:
    write(tmp_path / "config.json", {"architectures": names})
    with pytest.raises(ModelError, match="A model without a name"):
        convert(tmp_path, tmp_path / "out.gguf")


def test_the_checkouts_converter_runs_with_its_own_library(tmp_path: Path) -> None:
    model = small_folder(tmp_path / "model")
    expected = convert(model, model / "made.gguf", "F16").read_bytes()
    out = tmp_path / "out" / "m.gguf"
    main([str(model), str(out), "--type", "F16", "--llama-cpp", str(checkout(tmp_path / "llama.cpp"))])
    assert out.read_bytes() == expected
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("raise SystemExit('Model Mamba is not supported')", "Model Mamba is not supported"),
        ("pass", "is not a whole GGUF|cannot be read"),
        (
            COPIES.replace("shutil.copy(", "open(arguments['--outfile'], 'wb').write(b'GGUF') or ("),
            "whole GGUF",
        ),
    ],
)
def test_what_it_cannot_do_is_passed_on_and_leaves_nothing(tmp_path: Path, script: str, said: str) -> None:
    out = tmp_path / "out" / "m.gguf"
    with pytest.raises(ModelError, match=said):
        convert_with(checkout(tmp_path / "llama.cpp", script), tmp_path, out, "F16")
    assert not list(out.parent.iterdir())


def test_a_folder_that_is_no_checkout_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Name a checkout of llama.cpp"):
        convert_with(tmp_path, tmp_path, tmp_path / "m.gguf", "F16")
