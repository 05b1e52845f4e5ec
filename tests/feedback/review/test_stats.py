"""`backtalk flags stats` in the terminal and as a picture."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from backtalk.cli import main
from backtalk.home import home
from feedback.store.outbox import NAME, Outbox
from tests.feedback.events import CORRECTION, flag


@pytest.fixture
def some_flags() -> None:
    with closing(Outbox(home() / NAME)) as outbox:
        for n in range(12):
            event = flag(
                f"who{n}", "good" if n % 3 else "bad", correction="" if n % 3 else f"{CORRECTION} {n}"
            )
            outbox.save(replace(event, revision=0))


def test_the_table_says_what_there_is_and_what_waits(
    some_flags: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["flags", "stats", "--json"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[0] == "12 flags stand"
    assert any("8 of 12, 67% (39% to 86%)" in line for line in lines)
    assert any("to send" in line for line in lines)
    assert json.loads(last)["good"]["mini, round 0"]["part"] == 8


def test_a_picture_is_drawn(some_flags: None, tmp_path: Path) -> None:
    assert main(["flags", "stats", "--plot", str(tmp_path / "flags.png")]) == 0
    assert (tmp_path / "flags.png").read_bytes().startswith(b"\x89PNG")


def test_another_kind_of_picture_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flags", "stats", "--plot", "flags.txt"]) == 2
    assert ".png, .svg, .pdf" in capsys.readouterr().err


def test_without_flags_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flags", "stats"]) == 1
    assert "no flags to count" in capsys.readouterr().err
