"""The converter of a llama.cpp checkout, for architectures that are not written here.

    python -m export convert MODEL_DIR OUT --type F16 --llama-cpp vendor/llama.cpp

It runs in a process of its own, with the gguf-py of the same checkout before PyPI's: both call themselves by
one version and differ. Nothing is downloaded; its file is read with our own eyes before it gets its name.
"""

import os
import subprocess
import sys
from pathlib import Path

from backtalk.errors import ModelError
from backtalk.gguf_check import check
from export.unfinished import unfinished

SCRIPT = "convert_hf_to_gguf.py"


def convert_with(llama_cpp: Path, model_dir: Path, out: Path, type: str, name: str = "") -> Path:
    """Runs the checkout's converter and returns `out`. Raises ModelError with its last words."""
    script, library = llama_cpp / SCRIPT, llama_cpp / "gguf-py"
    if not script.is_file() or not library.is_dir():
        raise ModelError(
            f"{llama_cpp} holds no {SCRIPT} with a gguf-py beside it. Name a checkout of llama.cpp, such as "
            "vendor/llama.cpp of llama-cpp-python's source distribution."
        )
    with unfinished(out) as part:
        command: list[str | Path] = [
            sys.executable,
            script.resolve(),
            model_dir.resolve(),
            "--outfile",
            part.resolve(),
        ]
        command += ["--outtype", type.lower(), *(["--model-name", name] if name else [])]
        done = subprocess.run(
            command, env=_environment(library), capture_output=True, text=True, errors="replace"
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ModelError(
                f"The converter of {llama_cpp} could not convert {model_dir}: {said.rstrip('.')}. "
                "Install what it misses, or take a checkout that knows this model."
            )
        check(part)
    return out


def _environment(library: Path) -> dict[str, str]:
    """What the converter is started with: its own gguf-py goes before whatever the caller had."""
    paths = [str(library.resolve()), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "HF_HUB_OFFLINE": "1"}
