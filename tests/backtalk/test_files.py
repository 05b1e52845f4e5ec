"""Files: whole or not there, whatever happens in between."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backtalk import files
from backtalk.errors import BacktalkError


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.writing(path) as file:
        file.write(b"half of the new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept.txt"]


def test_nobody_sees_a_file_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    with files.writing(path) as file:
        file.write(b"all of it")
        assert not path.exists()
    assert path.read_bytes() == b"all of it"


def test_what_a_killed_writer_leaves_does_not_look_finished(tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    program = (
        "import os, pathlib, sys\nfrom backtalk.files import writing\n"
        "with writing(pathlib.Path(sys.argv[1])) as file:\n    file.write(b'half')\n    os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    left = os.listdir(tmp_path)
    assert all(name.startswith(".") and name.endswith(".part") for name in left)


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a" / "b" / "c.json", {"é": [1, None]})
    assert files.read_json(tmp_path / "a" / "b" / "c.json") == {"é": [1, None]}


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [{"text": "line\nbreak \u2028 مرحبا"}, {"n": 1.5}, {}]
    files.write_jsonl(tmp_path / "rows.jsonl", rows)
    assert list(files.read_jsonl(tmp_path / "rows.jsonl")) == rows


def test_a_broken_file_is_named_with_the_place_of_the_fault(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(BacktalkError, match=r"a\.json is not valid JSON"):
        files.read_json(tmp_path / "a.json")
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a"\n')
    with pytest.raises(BacktalkError, match=r"rows\.jsonl, line 2, is not valid JSON"):
        list(files.read_jsonl(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_refused_and_nothing_is_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"n": value})
    assert not os.listdir(tmp_path)


def test_one_value_has_one_spelling() -> None:
    assert files.canonical_json({"b": 1, "a": "é"}) == files.canonical_json({"a": "é", "b": 1})
    assert files.canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    assert json.loads(files.canonical_json({"a": [1, "\n"]})) == {"a": [1, "\n"]}


def test_the_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = b"x" * 3_000_000
    (tmp_path / "big").write_bytes(content)
    assert files.sha256_of(tmp_path / "big") == hashlib.sha256(content).hexdigest()
