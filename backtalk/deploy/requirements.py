"""`requirements.txt` of a Gradio Space: all that its image is told of what to install.

    requirements("compile")          the text, from constraints/app.txt
    how_to_get_llama()               "prebuilt" where the project's own index has the pinned wheel for Linux

The Space's image installs gradio by the `sdk_version` of its README in the same call of pip, with extras that
want older versions of some libraries than ours. So what is imported here is pinned, what those bring along is
left to pip, and gradio stands with its range alone. `python -m backtalk.deploy.requirements` writes the file.
"""

import re
import urllib.request
from pathlib import Path
from typing import Literal

from backtalk.errors import BacktalkError

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints" / "app.txt"
FILE = ROOT / "requirements.txt"
LLAMA = "llama-cpp-python"
IMPORTED = (
    "authlib",
    "cryptography",
    "fastapi",
    "httpx2",
    "huggingface-hub",
    "jinja2",
    "joserfc",
    "markdown-it-py",
    "pyyaml",
    "rensa",
    "rich",
    "starlette",
    "uvicorn",
)
GRADIO = "gradio[oauth]>=6.31,<7"
WHEELS = "https://abetlen.github.io/llama-cpp-python/whl/cpu"
SECONDS_FOR_WHEELS = 5
# No instruction of the builder's own CPU: the Space may run on another one.
PORTABLE = "-DGGML_NATIVE=OFF;-DLLAVA_BUILD=OFF"

How = Literal["prebuilt", "compile"]


def requirements(how: How) -> str:
    """The file's text, with llama.cpp as a prebuilt wheel or compiled while the Space is built."""
    pins = _pins()
    lines = [
        "# What a Gradio Space installs; written by: python -m backtalk.deploy.requirements",
        *(f"{name}=={pins[name]}" for name in IMPORTED),
        f"{GRADIO}  # the Space's sdk_version decides which",
        *_llama(how, pins[LLAMA]),
    ]
    return "\n".join(lines) + "\n"


def pinned(name: str) -> str:
    """The version of a package in constraints/app.txt."""
    return _pins()[name]


def how_to_get_llama(index: str = WHEELS) -> How:
    """Looks once whether the index has the pinned version for Linux; compiles where it does not answer."""
    wheel = re.compile(rf"llama_cpp_python-{re.escape(pinned(LLAMA))}-[\w.-]*manylinux\w*x86_64")
    try:
        with urllib.request.urlopen(f"{index}/{LLAMA}/", timeout=SECONDS_FOR_WHEELS) as page:
            return "prebuilt" if wheel.search(page.read().decode(errors="replace")) else "compile"
    except (OSError, ValueError):
        return "compile"


def _llama(how: How, version: str) -> list[str]:
    if how == "compile":
        return [f'{LLAMA}=={version} --config-settings="cmake.args={PORTABLE}"']
    # Without the second line pip would rather compile than take a wheel of an older version's index.
    return [f"--extra-index-url {WHEELS}", f"--only-binary={LLAMA}", f"{LLAMA}=={version}"]


def _pins() -> dict[str, str]:
    try:
        lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    except OSError as fault:
        raise BacktalkError(
            f"{CONSTRAINTS} cannot be read ({fault.strerror}); it pins what the Space installs. Run this in "
            "a whole checkout of Backtalk."
        ) from fault
    pairs = (re.match(r"([\w.-]+)==([\w.]+)", line) for line in lines)
    return {pair[1]: pair[2] for pair in pairs if pair}


if __name__ == "__main__":
    FILE.write_text(requirements("compile"), encoding="utf-8")
