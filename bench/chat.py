"""`backtalk chat` as a process of its own, with a state folder and a log that a benchmark can look into.

    with running(home, "--metrics") as chat:
        Visitor(chat.server)
        chat.log()          what it has said so far
        chat.metrics()      what it counts itself, where it was started with --metrics

`more` goes into its environment. It ends with SIGTERM, as a container does. With model="promoted" it follows
the pointer of its state folder, which `promote` moves.
"""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backtalk.files import sha256_of, write_json
from backtalk.models import POINTER
from backtalk.visitor import Server
from bench.serve import free_port
from export.pointer import Pointer, Promotion

PATIENCE = 300.0  # seconds for a start on a busy machine
LINK = re.compile(r"works once: \S+/#/sign-in/(\S+)")


@dataclass(frozen=True)
class Chat:
    """A chat that is ready."""

    home: Path
    port: int
    pid: int

    @property
    def server(self) -> Server:
        return Server(f"http://127.0.0.1:{self.port}")

    def log(self) -> str:
        return log_of(self.home).read_text(errors="replace")

    def metrics(self) -> dict[str, float]:
        """By name; labels are part of it."""
        with urllib.request.urlopen(f"{self.server.address}/metrics", timeout=120) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def key(self) -> str:
        """Of the newest link in the terminal, which makes its first reader a maintainer."""
        return LINK.findall(self.log())[-1]


@contextmanager
def running(
    home: Path, *words: str, model: str = "mini", more: Mapping[str, str] | None = None
) -> Iterator[Chat]:
    """Started with the bundled model or another; `home` is its state folder."""
    port = free_port()
    command = [sys.executable, "-m", "backtalk", "chat", "--model", model, "--port", str(port), *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "BACKTALK_HOME": str(home), **(more or {})}
    with open(log_of(home), "wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            chat = Chat(home, port, process.pid)
            chat.server.wait(PATIENCE)
            yield chat
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def log_of(home: Path) -> Path:
    """Beside the state folder's own files."""
    return home / "chat.log"


def promote(home: Path, file: Path, round: int) -> None:
    """Moves the pointer of `home` as `backtalk promote` does, whatever the gate would say."""
    told = Promotion(file.stem, file.name, sha256=sha256_of(file), round=round, why="a benchmark")
    write_json(home / POINTER, Pointer(told).as_json())
