"""Makes `.venv-unsloth` hold training with Unsloth, at the versions in `constraints/unsloth.txt`.

    python3 -m scripts.install_unsloth

Unsloth needs older versions of what the rest of Backtalk uses, so it has an environment of its own, in which
`.venv-unsloth/bin/backtalk train` runs the same recipes into the same BACKTALK_HOME. Standard library only;
safe to interrupt and to repeat; when nothing changed since the last time it returns at once.
"""

import fcntl
import sys
from pathlib import Path

from scripts.environment import ROOT, InstallError, fingerprint, make_venv, pinned, pip, say

VENV = ROOT / ".venv-unsloth"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints" / "unsloth.txt"
ALONE = ("unsloth", "unsloth_zoo")
"""Installed without what they ask for: a certifi that they never import and that not every index has."""
BESIDE = ("bitsandbytes", "pytest", "pytest-timeout")


def main() -> int:
    """No words."""
    try:
        install()
        return 0
    except InstallError as fault:
        print(fault, file=sys.stderr)
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again: it continues.", file=sys.stderr)
    return 1


def install() -> None:
    """The whole story; a stamp in `.venv-unsloth` says that it was told for exactly these files."""
    wanted = fingerprint([ROOT / "pyproject.toml", CONSTRAINTS, Path(__file__)])
    stamp = VENV / "installed"
    VENV.mkdir(exist_ok=True)
    with open(VENV / "install.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        make_venv(PYTHON)
        install_packages()
        stamp.write_text(wanted)


def install_packages() -> None:
    """Torch by itself first, so that no other package decides its version; Unsloth last and alone."""
    torch = pinned("torch", CONSTRAINTS)
    say(f"Installing {torch}: its CPU build where this machine's package index has one.")
    _pip("install", torch, "-c", CONSTRAINTS)
    say("Installing Unsloth and the libraries of its age.")
    _pip("install", "--no-warn-conflicts", "-c", CONSTRAINTS, *BESIDE, "-e", f"{ROOT}[train]")
    _pip("install", "--no-deps", *(pinned(name, CONSTRAINTS) for name in ALONE))


def _pip(*words: object) -> None:
    pip(*words, working="still installing", python=PYTHON)


if __name__ == "__main__":
    sys.exit(main())
