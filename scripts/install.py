"""Makes `.venv` hold what this checkout needs, at the versions in `constraints/`.

    python3 -m scripts.install app     what `make run` needs, and the Docker image: the chat, no torch
    python3 -m scripts.install train   that, and training and exporting, for a rented machine
    python3 -m scripts.install test    that, and what training and `make test` need, and a browser

Standard library only. Safe to interrupt and to repeat; when nothing changed since the last time it returns at
once. What it does it says in one line each.
"""

import fcntl
import subprocess
import sys
from pathlib import Path

from scripts import environment
from scripts.environment import PYTHON, ROOT, VENV, InstallError, make_venv, pinned, pip, say
from scripts.llama import install_llama

EXTRAS = {"app": "app", "train": "app,train", "test": "app,train,dev"}
CONSTRAINTS = {"app": "app.txt", "train": "test.txt", "test": "test.txt"}


def main(argv: list[str]) -> int:
    """One word: `app`, `train` or `test`."""
    if len(argv) != 1 or argv[0] not in EXTRAS:
        print("usage: python3 -m scripts.install app|train|test", file=sys.stderr)
        return 2
    try:
        install(argv[0])
        return 0
    except InstallError as fault:
        print(fault, file=sys.stderr)
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again: it continues.", file=sys.stderr)
    return 1


def install(machine: str) -> None:
    """The whole story; a stamp in `.venv` says that it was told for exactly these files."""
    wanted = fingerprint()
    if _is_current(machine, wanted):
        return
    VENV.mkdir(exist_ok=True)
    with open(VENV / "install.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # `make run` and `make test` may be started side by side
        if _is_current(machine, wanted):
            return
        make_venv()
        install_llama()
        install_packages(machine)
        if machine == "test":
            for for_the_tests in ("scripts.browser", "scripts.axe"):  # both say what they cannot bring
                subprocess.run([PYTHON, "-m", for_the_tests], cwd=ROOT, check=False)
            _stamp("app").write_text(wanted)
        _stamp(machine).write_text(wanted)


def install_packages(machine: str) -> None:
    """What the machine's extras name; torch by itself first, so that no other package decides its version."""
    constraints = ROOT / "constraints" / CONSTRAINTS[machine]
    if machine != "app":
        torch = pinned("torch", constraints)
        say(f"Installing {torch}: its CPU build where this machine's package index has one.")
        pip("install", torch, "-c", constraints, working="still installing")
    what = {"app": "the chat", "train": "the chat and training", "test": "the chat, training and the tests"}
    say(f"Installing {what[machine]}.")
    pip("install", "-c", constraints, "-e", f"{ROOT}[{EXTRAS[machine]}]", working="still installing")


def fingerprint() -> str:
    """Changes whenever an install could come out differently."""
    scripts = ("install.py", "llama.py", "llama.cmake", "environment.py")
    return environment.fingerprint(
        [
            ROOT / "pyproject.toml",
            *(ROOT / "constraints" / name for name in sorted({*CONSTRAINTS.values()})),
            *(Path(__file__).with_name(name) for name in scripts),
        ]
    )


def _stamp(machine: str) -> Path:
    return VENV / f"installed-{machine}"


def _is_current(machine: str, wanted: str) -> bool:
    stamp = _stamp(machine)
    return PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
