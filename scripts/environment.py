"""`.venv`: where it is, how pip runs in it, which versions `constraints/` pins. Standard library only.

Unsloth needs older libraries and has `.venv-unsloth` to itself, made by the same functions.
"""

import hashlib
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
SECONDS_BETWEEN_SIGNS = 60


class InstallError(Exception):
    """One sentence: what was found, what was wanted, what to do."""


def make_venv(python: Path = PYTHON) -> None:
    """Creates the environment of `python`, or makes it anew where that or its pip does not run."""
    if succeeds(python, "-m", "pip", "--version"):
        return
    venv = python.parent.parent
    say(f"Creating {venv.name} with Python {platform.python_version()}.")
    made = subprocess.run([sys.executable, "-m", "venv", venv], capture_output=True, text=True)
    if made.returncode:
        raise InstallError(
            f"{sys.executable} could not create {venv.name}; Python's venv and pip were expected to come "
            "with it. On Debian and Ubuntu: apt-get install python3-venv. Then run the same command again."
        )


def pinned(name: str, constraints: Path) -> str:
    """`name==version` as a constraints file has it."""
    for line in constraints.read_text().splitlines():
        if line.startswith(f"{name}=="):
            return line
    raise InstallError(f"{constraints} does not pin {name}; a line '{name}==VERSION' was expected.")


def pip(
    *words: object, environment: dict[str, str] | None = None, working: str = "", python: Path = PYTHON
) -> None:
    """Runs pip quietly; its own lines are seen only when it fails. `working` is said while it takes long."""
    action, *rest = map(str, words)
    command = [str(python), "-m", "pip", action, "-qq", "--disable-pip-version-check", "--no-input", *rest]
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        _wait(process, working)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode:
        raise InstallError(
            "pip could not install that; the lines above say why. Where the package index was not reached, "
            "connect to it and run the same command again: it continues."
        )


def fingerprint(files: Iterable[Path]) -> str:
    """Changes with the place of this checkout and whenever one of the files does."""
    digest = hashlib.sha256(str(ROOT).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def succeeds(*command: object) -> bool:
    """True when the command exists and ends with 0; its output is dropped."""
    try:
        return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True).returncode == 0
    except OSError:
        return False


def say(text: str) -> None:
    """One line to whoever waits."""
    print(text, flush=True)


def _wait(process: subprocess.Popen[bytes], working: str) -> None:
    started = time.monotonic()
    while True:
        try:
            process.wait(timeout=SECONDS_BETWEEN_SIGNS)
            return
        except subprocess.TimeoutExpired:
            if working:
                say(f"  {working}, {time.monotonic() - started:.0f} s")
