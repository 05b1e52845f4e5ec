"""The demo: its table of before and after, and a chat that is spoken to over HTTP and dies with the demo.

Command: pytest tests/training/mini/test_demo.py
Promise: starts a real chat with the bundled model on a free port; no round is run here.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backtalk.cli import main
from backtalk.errors import BacktalkError, NetworkError
from backtalk.progress import Progress
from backtalk.round.child import Done
from backtalk.visitor import Visitor
from feedback.store.outbox import Outbox
from training.mini import demo
from training.mini.comparison import compare, draw, held_out, table
from training.mini.demo import Demo, free_port, served

ROOT = Path(__file__).resolve().parents[3]


REAL = {
    "BACKTALK_FLAGS_DATASET": "shop/flags",
    "BACKTALK_SAFETY_DATASET": "shop/safety",
    "BACKTALK_MODEL": "hf://shop/desk/promoted.json",
    "HF_TOKEN": "hf_of_the_shop",
    "HUGGING_FACE_HUB_TOKEN": "hf_of_the_shop",
}


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The volume of a real desk, whose datasets and token are set as well."""
    (tmp_path / "volume").mkdir()
    for name, value in (REAL | {"BACKTALK_VOLUME": str(tmp_path / "volume")}).items():
        monkeypatch.setenv(name, value)
    return tmp_path / "volume"


def test_a_visitor_without_a_browser_asks_and_flags_over_http_and_the_chat_ends_with_the_block(
    state_folder: Path, volume: Path
) -> None:
    with served(state_folder) as server:
        assert not server.run("status", {})["flagging"]["sends"]  # what is invented here stays here
        visitor = Visitor(server)
        answer = visitor.ask("hello", temperature=0)
        again = visitor.ask("and what do you sell", before=answer, temperature=0)
        receipt = visitor.flag(again, {"verdict": "bad", "reasons": ["off_topic"]})
        with pytest.raises(BacktalkError, match="Temperature is 9"):
            visitor.ask("hello", temperature=9)
    assert receipt["saved"] and len(again.messages) == 4 and answer.text
    with closing(Outbox(state_folder / "outbox.sqlite")) as outbox:
        (event,) = outbox.standing()
    assert event.answer.text == again.text and event.consent.training
    assert [message.role for message in event.shown.messages] == ["user", "assistant", "user"]
    with pytest.raises(NetworkError, match="was not reached"):
        Visitor(server)
    assert not list(volume.iterdir())


def test_a_demos_round_has_no_way_to_the_real_flags(
    tmp_path: Path, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def ran(*all_of_it: Any) -> Done:
        given.extend(all_of_it)
        return Done(said={"verdict": "PROMOTE", "why": "better"})

    monkeypatch.setattr(demo, "run_verb", ran)
    demo._round(Demo(tmp_path / "demo", 1, 1, "recipe.yaml", 1), Progress())
    words, environment = given[0], given[3]
    assert "--offline" in words
    assert (environment["BACKTALK_HOME"], environment["HF_HUB_OFFLINE"]) == (str(tmp_path / "demo"), "1")
    assert not {*REAL, "BACKTALK_VOLUME"} & environment.keys()


def test_what_a_round_has_started_ends_with_a_demo_that_is_killed(state_folder: Path) -> None:
    """The demo holds the round on a leash, and the round its verb: the inner one must outlive the round."""
    port = free_port()
    verb = f"run_verb(['chat', '--port', '{port}'], Path('{state_folder}/verb.log'), print)"
    program = f"from pathlib import Path; from backtalk.round.child import run_verb; {verb}"
    leash = [sys.executable, "-m", "backtalk.round.leash", sys.executable, "-c", program]
    with subprocess.Popen(leash, stdin=subprocess.PIPE, cwd=ROOT, env={**os.environ}) as outer:
        until(lambda: listens(port))  # the chat takes its port first of all
        outer.stdin.close()
    until(lambda: not listens(port))


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_table_compares_each_row_and_counts_what_was_right_and_is_wrong_now(tmp_path: Path) -> None:
    items = held_out({1}, most=20)
    flagged = [item.id for item in items if item.row == "outdated"]
    facts = [item.id for item in items if item.row == "facts"]
    assert len(flagged) == 60 and len(facts) <= 20
    lines = compare({*flagged, facts[0]}, {flagged[0], facts[1]}, items, {1})
    first, second = lines[:2]
    assert (first.before, first.after, first.newly_wrong) == (0, 1 - 1 / 60, 0)
    assert second.before == second.after and second.newly_wrong == pytest.approx(1 / len(facts))
    assert "98.3%" in table(lines)
    assert draw(lines, tmp_path / "demo.png", "200 flags").stat().st_size > 10_000


def test_a_folder_with_something_in_it_is_never_taken_for_a_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["demo", "--folder", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
