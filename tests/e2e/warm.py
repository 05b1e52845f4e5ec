"""Servers that start at once: forks of a process that has loaded the libraries which take a chat seconds.

    process = launch(["chat", "--port", "7860"], environment, log)        like subprocess.Popen

A server from here is one as any other: a process with its environment, its state folder and its log, which
runs the command. Only that Gradio and what uses it are loaded once for all of them (6 s of CPU;
tests/app/test_serve.py and tests/training/mini/test_demo.py start theirs from nothing). Where a server is to
see other variables than those that the libraries have read by then, or where nothing forks, a new interpreter
starts.

    python -m tests.e2e.warm        the process itself: orders come in, answers go out, a line of JSON each
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import huggingface_hub.constants

ROOT = Path(__file__).resolve().parents[2]
READ_AT_IMPORT = ("GRADIO_", "HF_HOME", "OAUTH_", "OMP_", "PYTHON", "SPACE_", "SYSTEM")
WANTED = ("app.serve", "app.ui.views", "app.ui.page", "app.ui.sign_in", "backtalk.engine.llama", "uvicorn")
FORKS = sys.platform == "linux"


def launch(
    words: Sequence[str], environment: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes] | Fork":
    """`backtalk WORDS` as a process; what it says is appended to `log`."""
    if FORKS and _read_at_import(environment) == _nursery().environment:
        return Fork(_nursery(), words, environment, log)
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "backtalk", *words], env=dict(environment), stdout=file, stderr=file
        )


class Fork:
    """A server; `poll`, `wait` and `send_signal` are those of a Popen."""

    def __init__(
        self, nursery: "Nursery", words: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self._nursery = nursery
        self._code: int | None = None
        self.pid: int = nursery.ask(start=list(words), environment=dict(environment), log=str(log))

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._nursery.ask(code=self.pid)
        return self._code

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("backtalk", timeout)
            time.sleep(0.02)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Nursery:
    """The process that servers are forks of, as its only client sees it."""

    def __init__(self) -> None:
        self.environment = _read_at_import(os.environ)
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "tests.e2e.warm"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def ask(self, **order: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


@cache
def _nursery() -> Nursery:
    return Nursery()


def _read_at_import(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_IMPORT)}


def main() -> int:
    for name in WANTED:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        if "code" in order:
            pid, status = os.waitpid(order["code"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                return _serve(order)
        print(json.dumps(answer), flush=True)
    return 0


def _serve(order: dict[str, Any]) -> int:
    """In the fork: the command with its own environment, no input, and the log as its output."""
    os.environ.clear()
    os.environ.update(order["environment"])
    importlib.reload(huggingface_hub.constants)  # the Hub's address, and whether it may be asked
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for given, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(given, place)
    from backtalk.cli import main as backtalk

    return backtalk(order["start"])


if __name__ == "__main__":
    sys.exit(main())
