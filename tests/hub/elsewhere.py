"""Commands and programs in processes of their own, since a library reads HF_ENDPOINT once, at import."""

import os
import subprocess
import sys
from pathlib import Path

from tests.hub.server import Hub

ROOT = Path(__file__).resolve().parents[2]


def run(hub: Hub, *command: str, folder: Path, **more: str) -> str:
    """What a command prints; its caches are in `folder`, `more` is added to its environment."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": "hf_write",
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        **more,
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(hub: Hub, program: str, folder: Path, **more: str) -> str:
    """What a Python program prints, likewise."""
    return run(hub, sys.executable, "-c", program, folder=folder, **more)
