"""The card: complete, written last, and the only sign that a folder is finished."""

import json
from pathlib import Path

import pytest

from backtalk import __version__
from backtalk.card import NAME, Card, file_entry, read_card, write_card
from backtalk.errors import BacktalkError
from backtalk.files import sha256_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    (made / "model").mkdir(parents=True)
    (made / "model" / "weights").write_bytes(b"weights")
    (made / "log.jsonl").write_text("{}\n")
    (made / ".log.jsonl.77.part").write_text("left by a crash")
    return made


def test_a_folder_without_a_card_is_not_finished(folder: Path) -> None:
    with pytest.raises(BacktalkError, match="is not finished"):
        read_card(folder)


def test_the_card_lists_every_whole_file_with_its_hash(folder: Path) -> None:
    write_card(folder, Card("run", "r1"))
    assert read_card(folder).outputs == [
        {"path": "log.jsonl", "sha256": sha256_of(folder / "log.jsonl"), "bytes": 3},
        {"path": "model/weights", "sha256": sha256_of(folder / "model" / "weights"), "bytes": 7},
    ]


def test_what_was_written_is_what_is_read(folder: Path) -> None:
    card = Card("run", "r1", recipe={"steps": 3}, seed=7, metrics={"loss": 0.5})
    card.inputs = [file_entry(folder / "log.jsonl", folder)]
    write_card(folder, card, libraries=["pytest", "no-such-library"])
    read = read_card(folder)
    assert read == card
    assert read.backtalk["version"] == __version__ and read.created_at.endswith("+00:00")
    assert read.libraries == {"no-such-library": "", "pytest": pytest.__version__}


def test_writing_it_again_does_not_list_the_card_itself(folder: Path) -> None:
    write_card(folder, Card("run", "r1"))
    write_card(folder, Card("run", "r1"))
    assert NAME not in [entry["path"] for entry in read_card(folder).outputs]


@pytest.mark.parametrize("text", ['{"kind": "run"}', '{"kind": "run", "id": "r1", "colour": "red"}', "{"])
def test_a_strange_card_is_one_sentence(folder: Path, text: str) -> None:
    (folder / NAME).write_text(text)
    with pytest.raises(BacktalkError, match="card.json is not"):
        read_card(folder)


def test_the_card_is_readable_json(folder: Path) -> None:
    path = write_card(folder, Card("run", "r1", recipe={"name": "é"}))
    assert '"name": "é"' in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8"))["kind"] == "run"
