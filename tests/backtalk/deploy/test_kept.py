"""The state of a machine that is lent: whole copies, the newest whole one is taken, secrets stay home.

Command: pytest tests/backtalk/deploy/test_kept.py

Promise: a copy that was cut short is never restored; a Job that is killed has the state of its last copy.
"""

import threading
from pathlib import Path

import pytest

from backtalk.deploy.kept import Kept


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    (folder / "runs" / "a").mkdir(parents=True)
    (folder / "runs" / "a" / "card.json").write_text("{}")
    for name in ("secret", "hub/model.gguf", ".run.lock", "runs/a/.card.json.1.2.part"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("stays")
    return folder


def held(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_kept_comes_back_without_secrets_and_leftovers(home: Path, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "bucket")
    kept.keep(home)
    assert kept.restore(tmp_path / "next")
    assert held(tmp_path / "next") == ["runs/a/card.json"]


def test_a_first_machine_finds_nothing(tmp_path: Path) -> None:
    assert not Kept(tmp_path / "bucket").restore(tmp_path / "next")


def test_the_two_newest_copies_stay(home: Path, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "bucket")
    names = []
    for number in range(4):
        (home / "runs" / "count").write_text(str(number))
        names.append(kept.keep(home).name)
    assert held(tmp_path / "bucket") == names[-2:]
    kept.restore(tmp_path / "next")
    assert (tmp_path / "next" / "runs" / "count").read_text() == "3"


def test_a_copy_that_was_cut_short_is_passed_over(home: Path, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "bucket")
    (home / "runs" / "count").write_text("1")
    kept.keep(home)
    (home / "runs" / "count").write_text("2")
    newest = kept.keep(home)
    newest.write_bytes(newest.read_bytes()[:600])
    assert kept.restore(tmp_path / "next")
    assert (tmp_path / "next" / "runs" / "count").read_text() == "1"


def test_a_copy_is_kept_while_the_work_goes_on_and_at_its_end(home: Path, tmp_path: Path) -> None:
    kept, copied = Kept(tmp_path / "bucket"), threading.Event()
    keep = kept.keep

    def told(folder: Path) -> Path:
        path = keep(folder)
        copied.set()
        return path

    kept.keep = told  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt), kept.meanwhile(home, seconds=0.01):
        assert copied.wait(60)
        (home / "runs" / "count").write_text("last")
        raise KeyboardInterrupt
    kept.restore(tmp_path / "next")
    assert (tmp_path / "next" / "runs" / "count").read_text() == "last"
