"""Who answers in bench/visitors.py: this engine, llama-cpp-python in two ways, llama.cpp's own server.

    with serving("backtalk", Setting(path, context=4096, live=8)) as served:
        served.address, served.peak_bytes()

Each is a process of its own on a free port, with the same file, threads, context and number of live
conversations.
"""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.serve import free_port

ROOT = Path(__file__).resolve().parents[1]
OURS, LOCKED, PYTHON_SERVER, LLAMA_SERVER = "backtalk", "locked", "llama-cpp-python", "llama-server"
ENGINE_SERVER = "import sys; from bench.engine_server import main; main(sys.argv[1:])"
PATIENCE = 300.0  # seconds for a model to load


@dataclass(frozen=True)
class Setting:
    """What is the same for all."""

    file: Path
    context: int = 4096
    """tokens of one conversation"""
    live: int = 8
    threads: int = 2
    llama_server: Path | None = None
    python_path: str = ""
    """where packages lie that llama-cpp-python's server needs and Backtalk does not"""


@dataclass
class Served:
    """A server that answers."""

    address: str
    process: "subprocess.Popen[bytes]"

    def peak_bytes(self) -> int:
        """The most memory that it held so far, mapped files included."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@contextlib.contextmanager
def serving(kind: str, setting: Setting, log: Path | None = None) -> Iterator[Served]:
    """Starts a server and waits until it is ready; ends it afterwards."""
    port = free_port()
    with open(log or os.devnull, "wb") as words:
        process = subprocess.Popen(
            command(kind, setting, port),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), setting.python_path])},
        )
        try:
            served = Served(f"http://127.0.0.1:{port}", process)
            _wait(served, "/v1/models" if kind == PYTHON_SERVER else "/health")
            yield served
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def command(kind: str, setting: Setting, port: int) -> list[str]:
    """What a user would type, with the peers' defaults but for what `setting` says."""
    file, threads = str(setting.file), str(setting.threads)
    if kind in (OURS, LOCKED):
        words = [sys.executable, "-c", ENGINE_SERVER, kind, file]
        words += ["--context", str(setting.context), "--live", str(setting.live), "--threads", threads]
        return [*words, "--port", str(port)]
    if kind == PYTHON_SERVER:
        words = [sys.executable, "-m", "llama_cpp.server", "--model", file, "--n_ctx", str(setting.context)]
        words += ["--n_threads", threads, "--n_threads_batch", threads]
        # Without this it ends an answer as soon as the next visitor asks.
        return [*words, "--interrupt_requests", "False", "--port", str(port)]
    if setting.llama_server is None:
        raise ValueError("llama-server is started from a binary: give its path with --llama-server")
    words = [str(setting.llama_server), "-m", file, "-c", str(setting.context * setting.live)]
    words += ["-np", str(setting.live), "-t", threads, "-tb", threads, "--jinja", "--no-webui"]
    return [*words, "--host", "127.0.0.1", "--port", str(port)]


def _wait(served: Served, path: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if served.process.poll() is not None:
            raise RuntimeError(f"the server ended with {served.process.returncode} before it was ready")
        try:
            with urllib.request.urlopen(served.address + path, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(f"no server after {PATIENCE:g} s")
