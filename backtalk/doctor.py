"""`backtalk doctor`: what this machine has, what is missing, what to do about it.

    backtalk doctor           a line each; exit code 1 where something that was set up does not work
    backtalk doctor --json    the same as the last line, for programs

Nothing is changed and nothing is fetched. What is merely absent, such as a token or torch, is a note: the
chat runs without it. torch and llama.cpp are loaded in processes of their own, since a broken one may take
its process with it.
"""

import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from backtalk import hub
from backtalk.engine.machine import usable_cores
from backtalk.errors import BacktalkError, NetworkError
from backtalk.files import read_json, sha256_of
from backtalk.home import home, on_space, secret
from backtalk.hub import tokens
from backtalk.memory import free_bytes, serving_bytes
from backtalk.models import MINI, POINTER
from backtalk.verb import Parser, report_json

State = Literal["good", "note", "bad"]
MARKS: dict[State, str] = {"good": "ok", "note": "--", "bad": "!!"}
OLDEST_PYTHON = (3, 11)
CONTEXT = 8192
LITTLE_DISK = 5 * 10**9  # bytes: a real model and a round's files
PROBE_SECONDS = 60
OWN_EYES = 0o077  # what a file for one's own eyes lets nobody else do
DATASETS = ("BACKTALK_FLAGS_DATASET", "BACKTALK_SAFETY_DATASET")
LLAMA = "import llama_cpp as l; l.llama_backend_init(); print(l.llama_print_system_info().decode().strip())"
TORCH = (
    "import torch as t; c = t.cuda; n = range(c.device_count()) if c.is_available() else (); "
    "print('; '.join(f'{c.get_device_name(i)}, {c.get_device_properties(i).total_memory / 2**30:.0f} GiB' "
    "for i in n) or 'no CUDA, so it computes on the processor')"
)


@dataclass(frozen=True)
class Finding:
    """One thing: how it stands, what was found, and what to do where that is not as it should be."""

    name: str
    state: State
    found: str
    do: str = ""


def main(argv: list[str]) -> int:
    """`backtalk doctor`."""
    parser = Parser(
        "doctor", "What this machine has, what is missing, what to do.", example="backtalk doctor"
    )
    parser.add_json()
    args = parser.parse_args(argv)
    findings = []
    for finding in look():
        findings.append(finding)
        print(f"{MARKS[finding.state]} {finding.name:<10} {finding.found}", flush=True)
        if finding.do:
            print(f"   {'':<10} {finding.do}")
    bad = [finding.name for finding in findings if finding.state == "bad"]
    print(f"\nTo mend: {', '.join(bad)}." if bad else "\nNothing is broken.")
    if args.json:
        report_json({"findings": [asdict(finding) for finding in findings], "bad": bad})
    return 1 if bad else 0


def look() -> Iterator[Finding]:
    """Every finding, one after the other, the slow ones last; a check that fails is a finding too."""
    checks: tuple[tuple[str, Callable[[], Finding]], ...] = (
        ("Python", _python),
        ("cores", _cores),
        ("memory", _memory),
        ("state", _state),
        ("disk", _disk),
        ("secret", _secret),
        ("mini", _bundled),
        ("promoted", _promoted),
        ("page", _page),
        ("Hub", _hub),
        *((name, _dataset_check(name)) for name in DATASETS if os.environ.get(name)),
        ("llama.cpp", _llama),
        ("torch", _torch),
    )
    for name, check in checks:
        try:
            yield check()
        except (BacktalkError, OSError) as fault:
            yield Finding(name, "bad", str(fault))


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("Python", "bad", found, "Install Python 3.11 or newer, then: make run")
    return Finding("Python", "good", f"{found}, {platform.system()} {platform.machine()}")


def _cores() -> Finding:
    usable, there = usable_cores(), os.cpu_count() or 1
    return Finding("cores", "good", f"{usable} usable" + (f" of {there}" if there != usable else ""))


def _memory() -> Finding:
    free = free_bytes()
    if free is None:
        return Finding("memory", "note", "the system does not say how much is free")
    found = f"{free / 2**30:.1f} GiB free"
    if MINI.is_file() and free < serving_bytes(MINI, CONTEXT):
        return Finding("memory", "bad", found, "Too little for the bundled model. End other programs.")
    return Finding("memory", "good", found)


def _state() -> Finding:
    folder = home()
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            "state", "bad", f"{folder} cannot be written", "Set BACKTALK_HOME to a folder of yours."
        )
    kept = ", on a disk that is not kept" if on_space() else ""
    held = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return Finding("state", "good", f"{folder}{kept}: {', '.join(held) or 'empty'}")


def _disk() -> Finding:
    free = shutil.disk_usage(home()).free
    found = f"{free / 1e9:.0f} GB free at {home()}"
    if free < LITTLE_DISK:
        return Finding("disk", "note", found, "Enough for the chat; a round of a real model wants more.")
    return Finding("disk", "good", found)


def _secret() -> Finding:
    if os.environ.get("BACKTALK_SECRET"):
        secret()  # raises where it is too short
        return Finding("secret", "good", "BACKTALK_SECRET")
    if on_space():
        do = "Set BACKTALK_SECRET in the Space's settings."
        return Finding("secret", "bad", "none, so that flagging is off on this Space", do)
    path = home() / "secret"
    if not path.exists():
        return Finding("secret", "note", f"{path} is made at the first start")
    if stat.S_IMODE(path.stat().st_mode) & OWN_EYES:
        return Finding("secret", "bad", f"others on this machine may read {path}", f"chmod 600 {path}")
    secret()
    return Finding("secret", "good", str(path))


def _bundled() -> Finding:
    card = read_json(MINI.with_name("card.json"))
    told = next(entry["sha256"] for entry in card["outputs"] if entry["path"] == MINI.name)
    return _file("mini", MINI, told, "Restore models/mini from the repository: git checkout models/mini")


def _promoted() -> Finding:
    path = home() / POINTER
    if not path.exists():
        return Finding("promoted", "note", "nothing yet, so the bundled model answers")
    pointer = read_json(path)
    try:
        name, file, wanted = pointer.get("name") or pointer["file"], pointer["file"], pointer["sha256"]
    except (KeyError, AttributeError, TypeError):
        return Finding("promoted", "bad", f"{path} names no file and sha256", "Promote again.")
    if not file:
        return Finding("promoted", "good", "the bundled model, after a rollback")
    if pointer.get("repo"):
        return Finding("promoted", "good", f"{name}, {file} of hf://{pointer['repo']}, sha256 {wanted[:8]}")
    return _file("promoted", home() / file, wanted, "backtalk rollback, or promote again.")


def _file(name: str, path: Path, wanted: str, do: str) -> Finding:
    """A model file: there, and the one that is meant."""
    if not path.is_file():
        return Finding(name, "bad", f"{path} is not there", do)
    found = sha256_of(path)
    if found != wanted:
        return Finding(name, "bad", f"{path} has sha256 {found[:8]}, wanted was {wanted[:8]}", do)
    return Finding(name, "good", f"{path}, {path.stat().st_size / 1e6:.1f} MB, sha256 {found[:8]} as told")


def _page() -> Finding:
    try:
        return Finding("page", "good", f"gradio {version('gradio')}")
    except PackageNotFoundError:
        return Finding("page", "bad", "gradio is not installed", "make run")


def _hub() -> Finding:
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        tokens.reach()
    except NetworkError as fault:
        return Finding("Hub", "note", str(fault), "The chat runs without it; flags wait here.")
    if not hub.has_token():
        return Finding(
            "Hub", "note", f"{endpoint} answers; there is no token", "To send flags, set HF_TOKEN."
        )
    rights = tokens.rights_of(patience=0)
    return Finding("Hub", "good", f"{endpoint} answers; the token: {rights.sentence}")


def _dataset_check(variable: str) -> Callable[[], Finding]:
    """The check of a dataset that flags go to."""
    name = os.environ[variable].strip()
    label = "safety" if "SAFETY" in variable else "flags"

    def check() -> Finding:
        if not hub.has_token():
            return Finding(label, "bad", f"{name} is named, and there is no token", "Set HF_TOKEN.")
        try:
            there = hub.head(name, patience=0)
        except NetworkError as fault:
            return Finding(label, "note", str(fault))
        if there is None:
            return Finding(label, "note", f"{name} is not there, and is made with the first flag")
        if not there.private:
            return Finding(label, "bad", f"everybody can read {name}", "Make it private on its page.")
        if not tokens.may_write(name, "", patience=0):
            return Finding(label, "bad", f"the token cannot write {name}", "Give it write access there.")
        return Finding(label, "good", f"{name}, private, at {there.commit[:7]}; the token may write it")

    return check


def _llama() -> Finding:
    return _probed("llama.cpp", "llama-cpp-python", LLAMA, "make run", "bad")


def _torch() -> Finding:
    return _probed("torch", "torch", TORCH, "To train here: make setup", "note")


def _probed(name: str, package: str, program: str, do: str, absent: State) -> Finding:
    """A package whose loading may fail in ways that end the process."""
    try:
        number = version(package)
    except PackageNotFoundError:
        return Finding(name, absent, f"{package} is not installed", do)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=PROBE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Finding(name, "note", f"{number}, which took more than {PROBE_SECONDS} s to load")
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        again = "Delete .venv and run: make run"
        return Finding(name, "bad", f"{number} is installed and cannot be loaded ({why})", again)
    return Finding(name, "good", f"{number}: {done.stdout.strip()}")
