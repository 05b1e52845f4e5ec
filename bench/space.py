"""`backtalk deploy space`, and then the Space: does what was pushed start and answer, by itself?

    python bench/space.py [--quick] [--llama compile|prebuilt]

The command pushes to a Hub on this machine. What lies there is downloaded into an empty folder, a fresh
virtual environment gets its requirements.txt and nothing else, `python space.py` is started in it as the
Space's image would start it, and a visitor asks and flags. SIGTERM right after that has to bring the flag to
its dataset. llama.cpp is compiled, which takes most of the time. --quick takes this checkout's environment in
place of a fresh one.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.visitor import Server, Visitor
from bench.report import bound, report
from bench.serve import free_port
from tests.hub.call import Token
from tests.hub.server import TOKENS, Hub

ROOT = Path(__file__).resolve().parents[1]
SPACE = "somebody/desk"
FLAGS, SAFETY, MODEL = (f"{SPACE}-{end}" for end in ("flags", "safety", "model"))
READS = ("repo.content.read", "repo.access.read")
QUESTION = "how long can i return a tent"
CHOICE = {"verdict": "bad", "reasons": ["outdated"], "correction": "Within 60 days, unused."}
PATIENCE = 600.0  # seconds for a start on a busy machine
MOST_END = 20.0  # seconds that whoever stops a container gives it
NARROW = Token(
    "somebody",
    (FLAGS, SAFETY),
    scopes=(
        ("dataset", FLAGS, (*READS, "repo.write")),
        ("dataset", SAFETY, (*READS, "repo.write")),
        ("model", MODEL, READS),
    ),
)


@dataclass
class Seen:
    """What happened, in seconds, and what was answered."""

    pushed: float = 0.0
    installed: float = 0.0
    ready: float = 0.0
    ended: float = 0.0
    code: int = -1
    answer: str = ""
    model: str = ""
    rows: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="with this checkout's environment")
    parser.add_argument("--llama", choices=("compile", "prebuilt"), default="compile")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backtalk-space-") as scratch:
        seen = run(Path(scratch), args.llama, args.quick)
    print(f"pushed in {seen.pushed:.1f} s, installed in {seen.installed:.0f} s, ready in {seen.ready:.1f} s")
    print(f"{QUESTION}\n  {seen.model}: {seen.answer}")
    report(
        "space",
        [
            bound("answers with text", float(bool(seen.answer.strip())), at_least=1),
            bound("flags on the Hub after SIGTERM", float(seen.rows), at_least=1),
            bound("seconds from SIGTERM to the end", seen.ended, at_most=MOST_END),
            bound("exit code after SIGTERM", float(seen.code), at_most=0),
            bound(
                "fresh environment, requirements.txt alone",
                None if args.quick else 1.0,
                at_least=1,
                why="--quick" if args.quick else "",
            ),
        ],
        seconds={"push": seen.pushed, "install": seen.installed, "ready": seen.ready},
    )
    return 0


def run(scratch: Path, llama: str, quick: bool) -> Seen:
    """The whole story in a folder that was empty."""
    seen = Seen()
    with Hub(scratch / "hub", tokens={**TOKENS, "hf_space": NARROW}) as hub:
        with timed(seen, "pushed"):
            deploy(hub, scratch, llama)
        folder = downloaded(hub, scratch / "app")
        with timed(seen, "installed"):
            python = sys.executable if quick else installed(folder, scratch / "venv")
        with serving(python, folder, hub, scratch) as (process, server):
            with timed(seen, "ready"):
                server.wait(PATIENCE)
            talk(server, seen)
            with timed(seen, "ended"):
                process.send_signal(signal.SIGTERM)
                seen.code = process.wait(60)
        seen.rows = rows_on(hub)
    return seen


def deploy(hub: Hub, scratch: Path, llama: str) -> None:
    """The command, as somebody types it."""
    environment = client(hub, scratch) | {"HF_TOKEN": "hf_write", "BACKTALK_SPACE_TOKEN": "hf_space"}
    command = [sys.executable, "-m", "backtalk", "deploy", "space", SPACE, "--llama", llama]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)


def downloaded(hub: Hub, folder: Path) -> Path:
    """The Space's files, as its image gets them."""
    space = hub.store.repo("space", SPACE)
    head = space.commit("main")
    for path in head.tree:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(space.read(head, path))
    return folder


def installed(folder: Path, venv: Path) -> str:
    """The interpreter of an environment with the folder's requirements.txt and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", "requirements.txt"]
    subprocess.run([*map(str, pip)], cwd=folder, check=True)
    return str(venv / "bin" / "python")


@contextmanager
def serving(
    python: str, folder: Path, hub: Hub, scratch: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Server]]:
    """The app as the Space starts it: its variables, its secrets, and no more of this machine's."""
    space = hub.store.repo("space", SPACE)
    port = free_port()
    environment = {
        **client(hub, scratch),
        **space.about["variables"],
        **space.about["secrets"],
        "SPACE_ID": SPACE,
        "PORT": str(port),
    }
    with subprocess.Popen([python, "space.py"], cwd=folder, env=environment) as process:
        try:
            yield process, Server(f"http://127.0.0.1:{port}")
        finally:
            process.kill()


def talk(server: Server, seen: Seen) -> None:
    """A visitor asks, flags, and may have it sent; at once the Space is told to end."""
    visitor = Visitor(server)
    answer = visitor.ask(QUESTION)
    seen.answer, seen.model = answer.text, answer.model["name"]
    visitor.flag(answer, CHOICE)


def rows_on(hub: Hub) -> int:
    """Flag events that the dataset holds."""
    try:
        dataset = hub.store.repo("dataset", FLAGS)
        head = dataset.commit("main")
    except Exception:  # it was never made
        return 0
    segments = [path for path in head.tree if path.startswith("data/v1/")]
    return sum(dataset.read(head, path).count(b"\n") for path in segments)


def client(hub: Hub, scratch: Path) -> dict[str, str]:
    """An environment in which the Hub's client knows this Hub alone."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(scratch / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "BACKTALK_HOME": str(scratch / "state"),
    }


@contextmanager
def timed(seen: Seen, what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    setattr(seen, what, time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
