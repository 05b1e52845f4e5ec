"""`backtalk chat` as a process: its first page, its sentences and its end."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.desk.answering import Desk
from app.serve import address, follow, listen, tell_state
from app.settings import Settings
from app.ui.waiting import WaitingRoom
from backtalk.cli import main
from backtalk.errors import WordsError

PATIENCE_SECONDS = 100


@contextmanager
def chat(*words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`backtalk chat` on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "backtalk", "chat", "--port", str(port), *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=os.environ, stdout=pipe, stderr=pipe, text=True)
    try:
        yield process, port
    finally:
        process.kill()
        process.communicate()


def get(port: int, path: str = "/", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def wait_until_open(port: int) -> str:
    """Asks for /health until the real server answers it; returns what was answered first of all."""
    first = ""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            _, text = get(port, "/health")
        except OSError:
            time.sleep(0.02)
            continue
        first = first or text
        if text == '{"status": "ok"}':
            return first
        time.sleep(0.05)
    raise AssertionError("the page did not come")


def test_the_first_visitor_is_told_to_wait_and_a_missing_model_is_one_sentence() -> None:
    with chat("--model", "nowhere/x.gguf") as (process, port):
        assert "Backtalk is starting" in wait_until_open(port)
        status, page = get(port)
        assert status == 200 and "Backtalk" in page
        process.send_signal(signal.SIGTERM)
        said, complaint = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    first, link = said.splitlines()
    assert first == f"Backtalk is starting on http://127.0.0.1:{port}"
    assert re.fullmatch(rf"To maintain it, .* once: http://127.0.0.1:{port}/#/sign-in/[\w-]{{32}}", link)
    assert "There is no model file at nowhere/x.gguf." in complaint and complaint.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_ends_it_with_0(number: signal.Signals) -> None:
    with chat("--model", "nowhere/x.gguf") as (process, _port):
        assert process.stdout and "starting" in process.stdout.readline()
        process.send_signal(number)
        _said, complaint = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert "Traceback" not in complaint


def test_a_port_in_use_names_a_free_one() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            WordsError, match=rf"Port {port} is in use .* backtalk chat --port (\d+)"
        ) as fault:
            listen("127.0.0.1", port)
    free = int(str(fault.value).rsplit(" ", 1)[1])
    with listen("127.0.0.1", free):
        pass


def test_an_address_that_is_not_this_machines_is_one_sentence() -> None:
    with pytest.raises(WordsError, match="cannot listen on 203.0.113.1"):
        listen("203.0.113.1", 7860)


def test_a_flag_with_a_typo_names_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--prot", "7861"]) == 2
    assert "Did you mean '--port'?" in capsys.readouterr().err


def test_the_address_is_one_that_a_browser_here_can_open() -> None:
    assert address(Settings(host="0.0.0.0", port=80)) == "http://127.0.0.1:80"
    assert address(Settings(host="::1")) == "http://[::1]:7860"


def test_a_chat_that_was_started_with_a_file_stays_with_it_and_says_so(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert follow(desk, Settings(model="mini")) is None
    tell_state(desk, follows=False)
    said = capsys.readouterr().out
    assert "It stays, whatever is promoted: --model names it." in said
    assert re.match(
        r"The model mini is ready: 1 thread, [\d,]+ MB of memory in use and [\d,]+ MB free\.", said
    )
    assert said.count("\n") == 1


def test_a_guest_who_says_nothing_does_not_keep_the_others_waiting() -> None:
    with listen("127.0.0.1", 0) as listener, WaitingRoom(listener):
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            status, page = get(port)
    assert status == 200 and "loading the model" in page


@pytest.mark.parametrize(
    ("accepted", "said"),
    [
        ("fr-CA,fr;q=0.9,en;q=0.8", '<html lang="fr">'),
        ("de, fr;q=0.5", "Backtalk démarre"),
        ("de,*;q=0.5", "Backtalk is starting"),
        ("en,fr", "Backtalk is starting"),
    ],
)
def test_whoever_waits_reads_why_in_the_language_of_their_browser(accepted: str, said: str) -> None:
    with listen("127.0.0.1", 0) as listener, WaitingRoom(listener):
        _, page = get(listener.getsockname()[1], **{"Accept-Language": accepted})
    assert said in page
