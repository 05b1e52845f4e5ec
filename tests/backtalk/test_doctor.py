"""The doctor: what works is said to work, what is absent is a note, what is broken is named with its cure.

Command: pytest tests/backtalk/test_doctor.py

Promise: exit code 1 exactly where something that was set up does not work; nothing is fetched and nothing is
written but the state folder itself.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backtalk import cli, doctor
from backtalk.doctor import Finding
from backtalk.hub import create
from tests.hub.call import Token
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]

FLAGS = "somebody/flags"


def finding(name: str) -> Finding:
    return next(one for one in doctor.look() if one.name == name)


@pytest.fixture
def no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading torch takes seconds; one test does it."""
    for name in ("_llama", "_torch"):
        monkeypatch.setattr(doctor, name, lambda name=name: Finding(name, "note", "not asked"))


@pytest.mark.timeout(600)
def test_a_sound_machine_ends_with_0_and_one_line_of_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 500)  # of a machine that is busy with other tests
    assert cli.main(["doctor", "--json"]) == 0
    printed = capsys.readouterr().out.splitlines()
    told = json.loads(printed[-1])
    states = {one["name"]: one["state"] for one in told["findings"]}
    assert told["bad"] == [] and states["mini"] == states["llama.cpp"] == states["torch"] == "good"
    assert states["promoted"] == states["Hub"] == "note"
    assert len([line for line in printed if line[:3] in ("ok ", "-- ", "!! ")]) == len(states)


@pytest.mark.usefixtures("no_probes")
def test_a_promoted_file_that_changed_is_broken(
    state_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state_folder.mkdir()
    (state_folder / "model.gguf").write_bytes(b"something else")
    pointer = {"name": "round-1", "file": "model.gguf", "sha256": "0" * 64}
    (state_folder / "promoted.json").write_text(json.dumps(pointer))
    assert cli.main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "!! promoted" in printed and "wanted was 00000000" in printed and "backtalk rollback" in printed
    assert printed.endswith("To mend: promoted.\n")


@pytest.mark.usefixtures("no_probes")
def test_a_pointer_that_is_no_json_is_a_finding_and_the_rest_goes_on(state_folder: Path) -> None:
    state_folder.mkdir()
    (state_folder / "promoted.json").write_text("{")
    found = list(doctor.look())
    assert [one.name for one in found if one.state == "bad"] == ["promoted"]
    assert "is not valid JSON" in next(one.found for one in found if one.name == "promoted")
    assert found[-1].name == "_torch"


@pytest.mark.usefixtures("no_probes")
def test_the_secret_is_for_one_s_own_eyes(state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding("secret").state == "note"
    (state_folder / "secret").write_text("a" * 64)
    (state_folder / "secret").chmod(0o644)
    assert finding("secret") == Finding(
        "secret",
        "bad",
        f"others on this machine may read {state_folder / 'secret'}",
        f"chmod 600 {state_folder / 'secret'}",
    )
    monkeypatch.setenv("BACKTALK_SECRET", "short")
    assert "at least 16 are needed" in finding("secret").found
    monkeypatch.delenv("BACKTALK_SECRET")
    monkeypatch.setenv("SPACE_ID", "somebody/desk")
    assert finding("secret").state == "bad"


@pytest.mark.usefixtures("no_probes")
def test_the_token_is_told_by_its_rights(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding("Hub").found.endswith("the token: somebody, write access to everything")
    hub.tokens["hf_fine"] = Token("ada", (FLAGS,), scopes=(("dataset", FLAGS, ("repo.write",)),))
    monkeypatch.setenv("HF_TOKEN", "hf_fine")
    assert finding("Hub").found.endswith(f"the token: ada, fine-grained: the dataset {FLAGS}")
    monkeypatch.setenv("HF_TOKEN", "hf_withdrawn")
    assert finding("Hub").state == "bad" and "does not know this token" in finding("Hub").found
    monkeypatch.delenv("HF_TOKEN")
    assert "there is no token" in finding("Hub").found and finding("Hub").state == "note"


@pytest.mark.usefixtures("no_probes")
def test_a_hub_that_is_away_is_a_note(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert finding("Hub").state == "note" and "was not reached" in finding("Hub").found


@pytest.mark.usefixtures("no_probes")
def test_a_dataset_of_flags_is_private_and_can_be_written(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKTALK_FLAGS_DATASET", FLAGS)
    assert finding("flags").state == "note" and "is made with the first flag" in finding("flags").found
    create(FLAGS)
    assert finding("flags").state == "good" and finding("flags").found.endswith("the token may write it")
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    assert finding("flags").found == f"the token cannot write {FLAGS}"
    hub.store.repo("dataset", FLAGS).about["private"] = False
    assert finding("flags").found == f"everybody can read {FLAGS}"
    monkeypatch.delenv("HF_TOKEN")
    assert finding("flags").state == "bad"


def test_what_cannot_be_loaded_is_named_with_its_fault() -> None:
    broken = doctor._probed("llama.cpp", "llama-cpp-python", "raise OSError('no libgomp')", "make run", "bad")
    assert broken.state == "bad" and "no libgomp" in broken.found
    absent = doctor._probed("torch", "no-such-package", "", "To train here: make setup", "note")
    assert absent == Finding("torch", "note", "no-such-package is not installed", "To train here: make setup")


def test_neither_torch_nor_llama_cpp_is_loaded_into_the_doctor() -> None:
    program = "import sys, backtalk.doctor; print({'torch', 'llama_cpp', 'gradio'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
