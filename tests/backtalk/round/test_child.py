"""A verb as a process on a leash: its last line is read, its words are logged, it never outlives its round.

Command: python -m pytest tests/backtalk/round/test_child.py
Promise: a round that is killed leaves no process behind, not even a grandchild that ignores it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from backtalk.round.child import run_verb
from backtalk.round.leash import LOWEST

HOLD_ON = 60.0  # seconds until a test gives up: what it waits for takes a fraction of one

# A command that starts a process of its own, tells both ids, and sleeps; neither listens to anything.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1] + ".part", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.replace(sys.argv[1] + ".part", sys.argv[1])
time.sleep(600)
"""
HOLDER = """
import subprocess, sys
subprocess.Popen([sys.executable, "-m", "backtalk.round.leash", *sys.argv[1:]], stdin=subprocess.PIPE).wait()
"""


def test_the_json_line_and_the_log_are_of_the_same_verb(tmp_path: Path) -> None:
    done = run_verb(["mini", "replay", str(tmp_path / "r"), "--rows", "2", "--json"], tmp_path / "l", print)
    assert (done.code, done.said) == (0, {"file": str(tmp_path / "r"), "rows": 2})
    log = (tmp_path / "l").read_text()
    assert log.startswith("$ backtalk mini replay") and '"rows": 2' in log


def test_a_fault_is_the_sentence_of_the_verb(tmp_path: Path) -> None:
    told: list[str] = []
    done = run_verb(["promote", "nothing-there", "--json"], tmp_path / "log", told.append)
    assert done.code == 2 and not done.said
    assert "nothing-there" in done.fault and told[-1] == done.fault


def test_a_verb_of_which_there_is_enough_is_interrupted(tmp_path: Path) -> None:
    enough = Event()
    enough.set()
    with pytest.raises(KeyboardInterrupt):
        run_verb(["mini", "evaluate"], tmp_path / "log", print, enough=enough)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_whoever_is_on_the_leash_ends_when_its_holder_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "ids"
    command = [sys.executable, "-c", STUBBORN, str(told)]
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, *command])
    wait_until(told.exists)
    ids = [int(word) for word in told.read_text().split()]
    assert all(map(is_alive, ids))
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    wait_until(lambda: not any(map(is_alive, ids)))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_what_runs_on_idle_cores_gives_way_to_everything_else(tmp_path: Path) -> None:
    told = tmp_path / "ids"
    command = [sys.executable, "-c", STUBBORN, str(told)]
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, "--idle", *command])
    wait_until(told.exists)
    ids = [int(word) for word in told.read_text().split()]
    try:
        wait_until(lambda: os.getpriority(os.PRIO_PROCESS, ids[0]) == LOWEST)
    finally:
        holder.kill()
        holder.wait()
    wait_until(lambda: not any(map(is_alive, ids)))


def is_alive(number: int) -> bool:
    """A process that has ended and was not waited for is not alive."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + HOLD_ON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
