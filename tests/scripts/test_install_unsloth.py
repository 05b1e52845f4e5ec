"""Setting up Unsloth: an environment of its own, one version of everything, and nothing done twice.

Command: python -m pytest tests/scripts/test_install_unsloth.py
Promise: what is installed by name is pinned, the pins keep what Unsloth asks for, and an unchanged checkout
is not set up again.
"""

from pathlib import Path

import pytest

from scripts import environment, install_unsloth


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An environment in a temporary folder; what was done to it."""
    done: list[str] = []
    monkeypatch.setattr(install_unsloth, "VENV", tmp_path / "venv")
    monkeypatch.setattr(install_unsloth, "make_venv", lambda python: done.append("made"))
    monkeypatch.setattr(install_unsloth, "_pip", lambda *words: done.append(" ".join(map(str, words))))
    return done


def test_torch_comes_first_and_unsloth_last_and_alone(venv: list[str]) -> None:
    install_unsloth.install()
    made, torch, libraries, unsloth = venv
    assert (made, torch.split()[:2]) == ("made", ["install", "torch==2.13.0"])
    assert libraries.endswith("[train]") and "unsloth==" not in libraries
    assert unsloth == "install --no-deps unsloth==2026.10.9 unsloth_zoo==2026.10.9"


def test_a_second_setup_does_nothing(venv: list[str]) -> None:
    install_unsloth.install()
    venv.clear()
    install_unsloth.install()
    assert venv == []


def test_a_change_of_versions_sets_up_again(
    venv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_unsloth.install()
    venv.clear()
    changed = tmp_path / "unsloth.txt"
    changed.write_text(install_unsloth.CONSTRAINTS.read_text() + "# raised\n")
    monkeypatch.setattr(install_unsloth, "CONSTRAINTS", changed)
    install_unsloth.install()
    assert venv[0] == "made"


def test_every_version_is_pinned_within_what_unsloth_admits() -> None:
    lines = install_unsloth.CONSTRAINTS.read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert numbers(pins["transformers"]) <= (5, 17, 0)
    assert numbers(pins["trl"]) < (1, 15)
    assert numbers(pins["datasets"]) < (5,) and numbers(pins["huggingface_hub"]) < (2,)
    assert pins["unsloth"] == pins["unsloth_zoo"]
    with pytest.raises(environment.InstallError, match="does not pin gradio"):
        environment.pinned("gradio", install_unsloth.CONSTRAINTS)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
