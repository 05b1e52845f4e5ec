"""Checkpoints are whole or are not taken.

Command: python -m pytest tests/training/test_checkpoint.py
Promise: a checkpoint that was cut short, lost a file or was damaged is left aside with a line, and the one
before it is taken.
"""

from pathlib import Path

import pytest

from training.checkpoint import checkpoints, keep_newest, newest, part_of, step_of, writing


def test_a_checkpoint_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    with writing(tmp_path, 3) as part:
        (part / "optimizer.pt").write_bytes(b"state")
        assert not checkpoints(tmp_path)
    assert [step_of(path) for path in checkpoints(tmp_path)] == [3]
    with pytest.raises(OSError, match="full"), writing(tmp_path, 6) as part:
        (part / "optimizer.pt").write_bytes(b"sta")
        raise OSError("full")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000003"]


@pytest.mark.parametrize("name", ["optimizer.pt", "whole.json"])
@pytest.mark.parametrize("harm", ["cut", "changed", "deleted"])
def test_a_damaged_checkpoint_is_left_aside_with_a_line(tmp_path: Path, name: str, harm: str) -> None:
    write(tmp_path, 3, 6)
    victim = tmp_path / "checkpoint-000006" / name
    whole = victim.read_bytes()
    if harm == "deleted":
        victim.unlink()
    else:
        victim.write_bytes(whole[:-3] if harm == "cut" else b"x" + whole[1:])
    lines: list[str] = []
    assert newest(tmp_path, lines.append) == tmp_path / "checkpoint-000003"
    assert len(lines) == 1 and "checkpoint-000006" in lines[0] and "left aside" in lines[0]


def test_what_a_kill_left_half_written_is_told_and_removed(tmp_path: Path) -> None:
    write(tmp_path, 3)
    part_of(tmp_path, 6).mkdir()
    (part_of(tmp_path, 6) / "optimizer.pt").write_bytes(b"sta")
    lines: list[str] = []
    assert newest(tmp_path, lines.append) == tmp_path / "checkpoint-000003"
    assert lines == ["checkpoint-000006 was cut short while it was written; it is left aside."]
    assert not part_of(tmp_path, 6).exists()


def test_without_a_whole_one_there_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "nothing", print) is None


def test_the_newest_are_kept_by_their_step(tmp_path: Path) -> None:
    write(tmp_path, 9, 10, 100, 1_000_000)
    keep_newest(tmp_path, 2)
    assert [step_of(path) for path in checkpoints(tmp_path)] == [100, 1_000_000]


def write(folder: Path, *steps: int) -> None:
    for step in steps:
        with writing(folder, step) as part:
            (part / "optimizer.pt").write_bytes(f"state of {step}".encode())
