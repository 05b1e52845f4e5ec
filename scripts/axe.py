"""axe-core for the accessibility tests: npm's package at one version, in `.venv`, where git does not look.

    .venv/bin/python -m scripts.axe     brings it, or says how to get it

The tests read one file of it and need no network. Without npm they are skipped.
"""

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from scripts.environment import VENV, say

VERSION = "4.14.1"
FOLDER = VENV / "axe-core"
SCRIPT = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
MARK, FAILED = FOLDER / "version", FOLDER / "failed"
SECONDS = 120
HOW_TO_GET_IT = (
    "axe-core was not found, so the accessibility tests cannot run. Install npm (Node.js), then run: "
    ".venv/bin/python -m scripts.axe"
)


def find_axe() -> Path | None:
    """The script of this version."""
    return SCRIPT if SCRIPT.exists() and MARK.exists() and MARK.read_text() == VERSION else None


def should_be_here() -> bool:
    """Whether the install step can have brought it: npm is here, and did not fail to reach its registry."""
    return shutil.which("npm") is not None and not FAILED.exists()


def main() -> int:
    """Leaves the script behind where that is possible; 1 where it is not."""
    if find_axe():
        return 0
    if shutil.which("npm"):
        say(f"Installing axe-core {VERSION} for the accessibility tests.")
        _install()
    if find_axe():
        return 0
    print(HOW_TO_GET_IT, file=sys.stderr)
    return 1


def _install() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    quiet = ["--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--loglevel=error"]
    command = ["npm", "install", "--prefix", str(FOLDER), *quiet, f"axe-core@{VERSION}"]
    done = None
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if done and done.returncode == 0 and SCRIPT.exists():
        MARK.write_text(VERSION)
        FAILED.unlink(missing_ok=True)
    else:
        FAILED.write_text(done.stderr if done else f"npm did not answer within {SECONDS} s")


if __name__ == "__main__":
    sys.exit(main())
