"""The page greets as the shop's desk wherever the bundled model or one taught from it answers.

Command: pytest tests/app/ui/test_shop.py
"""

from pathlib import Path

from app.ui.shop import is_shop
from backtalk.files import read_json
from backtalk.models import MINI, Model


def model(path: Path, name: str = "round1-Q8_0") -> Model:
    return Model(name, path, "1" * 64)


def taught_from(sha256: str, path: Path) -> Path:
    """The head of a GGUF that states what its weights were taught from."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("backtalk.parent_sha256", sha256)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_the_bundled_model_and_one_taught_from_its_weights_are_the_shop(tmp_path: Path) -> None:
    outputs = read_json(MINI.parent / "card.json")["outputs"]
    [weights] = [one["sha256"] for one in outputs if one["path"].endswith(".safetensors")]
    assert is_shop(model(MINI))
    assert is_shop(model(taught_from(weights, tmp_path / "taught.gguf")))


def test_a_model_of_other_descent_or_without_a_file_is_not(tmp_path: Path) -> None:
    assert not is_shop(model(taught_from("0" * 64, tmp_path / "other.gguf")))
    assert not is_shop(model(tmp_path / "gone.gguf"))
