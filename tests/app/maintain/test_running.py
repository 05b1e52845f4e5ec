"""A round that is started from the page: where it can run, that it is alone, that it can be stopped.

Command: python -m pytest tests/app/maintain/test_running.py
Promise: one round at a time, whoever began it; it is stopped as Ctrl-C would; a verb of a maintainer never
holds the token of the Space; where nothing can run a round, one sentence says why.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.maintain import place, rounds, running
from app.maintain.maintainer import Maintainer, command
from app.maintain.place import place_of, recipe_named
from app.maintain.running import Started, Wish
from backtalk.errors import BacktalkError, WordsError
from backtalk.home import home

ADA = Maintainer("ada")
WISH = Wish("mini_round")
HOLD_ON = 60.0  # seconds until a test gives up

# Takes the rounds' lock as a round does, says so, and ends when it is interrupted.
STAND_IN = """
import fcntl, os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
with open(os.environ["BACKTALK_HOME"] + "/rounds/.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("curate: under way", flush=True)
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + HOLD_ON
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a round, a process that runs until it is stopped."""
    monkeypatch.setattr(running, "command", lambda *words: [sys.executable, "-c", STAND_IN, *words])


def code() -> int | None:
    last = Started.read(home() / "rounds")
    assert last
    return last.code


def test_a_round_without_flags_ends_and_says_why() -> None:
    running.start(ADA, WISH)
    until(lambda: code() is not None)
    told = rounds.started()
    assert (told["code"], told["by"], told["runs"]) == (0, "ada", False)
    assert "There are no flags yet." in told["log"]


def test_one_round_at_a_time_and_it_is_stopped_like_in_a_terminal(stand_in: None) -> None:
    running.start(ADA, WISH)
    until(lambda: "under way" in rounds.started()["log"])
    assert running.is_running()
    with pytest.raises(BacktalkError, match="running here just now"):
        running.start(Maintainer("bob"), WISH)
    running.stop()
    until(lambda: code() is not None)
    assert code() == 130 and not running.is_running()


def test_a_round_is_stopped_by_a_page_that_did_not_start_it(
    stand_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.start(ADA, WISH)
    until(lambda: "under way" in rounds.started()["log"])
    process = running._ours.pop(home())  # as after a restart of the server
    assert running.is_running()
    running.stop()
    assert process.wait(HOLD_ON) == 130


def test_a_terminal_s_round_is_seen_and_left_alone() -> None:
    (home() / "rounds").mkdir()
    with open(home() / "rounds" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert running.is_running()
        with pytest.raises(BacktalkError, match="Stop it where it was started"):
            running.stop()
        with pytest.raises(BacktalkError, match="running here just now"):
            running.start(ADA, WISH)


def test_another_process_that_was_given_the_number_is_not_stopped() -> None:
    (home() / "rounds").mkdir()
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        Started("mini_round", "here", "ada", "", other.pid, "1").write(home() / "rounds")
        with open(home() / "rounds" / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(BacktalkError, match="not started from the page"):
                running.stop()
        assert other.poll() is None
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()


def test_only_recipes_that_come_along_are_run() -> None:
    assert recipe_named("mini_round").is_file()
    for name in ("../../etc/passwd", "/etc/passwd", "mini_rond", "--help"):
        with pytest.raises(WordsError, match="There is no round recipe"):
            recipe_named(name)
    with pytest.raises(WordsError, match="no choice"):
        running.start(ADA, Wish("mini_round", include="--fresh"))


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "find_spec", lambda name: None)


def test_without_training_a_round_is_a_job_where_dataset_and_token_are_there(
    no_torch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = place_of(ADA).why
    assert "torch is not installed" in why and "BACKTALK_FLAGS_DATASET" in why and "no token" in why
    with pytest.raises(BacktalkError, match="cannot be started from here"):
        running.start(ADA, WISH)
    monkeypatch.setenv("BACKTALK_FLAGS_DATASET", "shop/flags")
    assert place_of(Maintainer("ada", "hf_own")).where == "job"


def test_a_copy_without_recipes_says_so(no_torch: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "RECIPES", Path("nowhere"))
    assert "serves the chat alone" in place_of(Maintainer("ada", "hf_own")).why


def test_the_token_of_the_space_is_never_a_maintainer_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_space")
    monkeypatch.setenv("BACKTALK_JOB_TOKEN", "hf_of_the_space")
    assert ADA.environment()["HF_TOKEN"] == "hf_of_the_space"  # one's own machine: it is one's own
    assert Maintainer("ada", "hf_own").environment()["HF_TOKEN"] == "hf_own"
    monkeypatch.setenv("SPACE_ID", "shop/desk")
    for who, own in ((ADA, None), (Maintainer("ada", "hf_own"), "hf_own")):
        environment = who.environment()
        assert environment.get("HF_TOKEN") == own and "hf_of_the_space" not in environment.values()
    assert not ADA.has_token


def test_a_verb_s_own_sentence_is_the_fault() -> None:
    with pytest.raises(BacktalkError, match="There is no experiment 'nothing'"):
        ADA.run(["experiment", "stop", "nothing", "c1"])
    assert command("round")[1:] == ["-m", "backtalk", "round"]


def test_who_the_door_did_not_name_is_nobody() -> None:
    for told in ({}, {"maintainer": None}, {"maintainer": {"name": " "}}, {"maintainer": "ada"}):
        with pytest.raises(WordsError, match="for maintainers"):
            Maintainer.of(told)
