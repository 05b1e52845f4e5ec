"""The folder that becomes a Space, or the code of a Job: an allow-list of this checkout's files.

    folder = assemble("gradio", space="somebody/desk", model="somebody/desk-model", how="compile")
    folder.files                  path there -> bytes, or the path of the file here
    write(folder, Path("out"))    the same on disk
    assemble_job(recipe)          (folder, path of the recipe in it)

What is not listed here does not go: no state, no tests, no environment file. A file that holds what looks
like a token of the Hub, or one of the secrets of this process, stops everything.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from backtalk.deploy.front import front
from backtalk.deploy.requirements import How, requirements
from backtalk.errors import BacktalkError, WordsError
from backtalk.hub.spaces import Sdk

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("app", "backtalk", "export", "feedback")  # what serves; nothing there needs torch
SUFFIXES = frozenset(
    {".py", ".yaml", ".html", ".css", ".js", ".svg", ".jinja", ".jsonl", ".txt"}
)  # of what belongs to a package
BUNDLED = ("models/mini/README.md", "models/mini/card.json", "models/mini/mini-Q8_0.gguf")
ALONE: Mapping[Sdk, tuple[str, ...]] = {
    "gradio": ("LICENSE", "space.py"),
    "docker": (
        ".dockerignore",
        "Dockerfile",
        "LICENSE",
        "constraints/app.txt",
        "constraints/test.txt",
        "pyproject.toml",
        "scripts/environment.py",
        "scripts/install.py",
        "scripts/llama.cmake",
        "scripts/llama.py",
        "space.py",
    ),
}
JOB_PACKAGES = (*PACKAGES, "training", "recipes", "scripts", "constraints", "models")
JOB_ALONE = ("LICENSE", "README.md", "pyproject.toml", "scripts/llama.cmake")
JOB_SUFFIXES = SUFFIXES | {".json", ".gguf", ".md", ".safetensors"}
TOKEN = re.compile(rb"hf_[A-Za-z0-9]{30,}")
SECRETS = ("BACKTALK_SECRET", "BACKTALK_SPACE_TOKEN", "HF_TOKEN")  # of this process
SHORTEST = 8  # characters of a secret that is looked for


@dataclass(frozen=True)
class Folder:
    """What goes to the Space, by path."""

    files: Mapping[str, bytes | Path]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {
            path: len(content) if isinstance(content, bytes) else content.stat().st_size
            for path, content in self.files.items()
        }

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())


def assemble(sdk: Sdk, space: str, model: str, how: How) -> Folder:
    """Everything that the Space needs, in the order of its paths. Raises BacktalkError for a secret in it."""
    files: dict[str, bytes | Path] = {path: ROOT / path for path in _allowed(sdk)}
    files["README.md"] = front(sdk, space, model).encode()
    if sdk == "gradio":
        files["requirements.txt"] = requirements(how).encode()
    _refuse_missing(files)
    _refuse_secrets(files)
    return Folder(dict(sorted(files.items())))


def assemble_job(recipe: Path) -> tuple[Folder, str]:
    """Everything that training needs, with the recipe under `recipes/`; and where it is there."""
    if not recipe.is_file():
        raise WordsError(f"There is no recipe {recipe}. The ones that come along are in recipes/.")
    files: dict[str, bytes | Path] = {path: ROOT / path for path in JOB_ALONE}
    for package in JOB_PACKAGES:
        files |= {path: ROOT / path for path in _files_of(package, JOB_SUFFIXES)}
    place = f"recipes/{recipe.name}"
    if recipe.resolve().is_relative_to(ROOT / "recipes"):
        place = recipe.resolve().relative_to(ROOT).as_posix()
    files[place] = recipe.read_bytes()
    _refuse_missing(files)
    _refuse_secrets(files)
    return Folder(dict(sorted(files.items()))), place


def write(folder: Folder, place: Path) -> None:
    """The folder's files under `place`, which is made where it is missing."""
    for path, content in folder.files.items():
        file = place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            shutil.copyfile(content, file)


def _allowed(sdk: Sdk) -> Iterator[str]:
    yield from ALONE[sdk]
    yield from BUNDLED
    for package in PACKAGES:
        yield from _files_of(package, SUFFIXES)


def _files_of(package: str, suffixes: frozenset[str]) -> Iterator[str]:
    for path in (ROOT / package).rglob("*"):
        place = path.relative_to(ROOT)
        if path.is_file() and path.suffix in suffixes and not any(map(_is_passing, place.parts)):
            yield place.as_posix()


def _is_passing(name: str) -> bool:
    """What Python, an editor or a broken write left behind."""
    return name.startswith(".") or name == "__pycache__"


def _refuse_missing(files: Mapping[str, bytes | Path]) -> None:
    missing = [path for path, content in files.items() if isinstance(content, Path) and not content.is_file()]
    if missing:
        raise BacktalkError(
            f"{ROOT} lacks {', '.join(missing)}, which a Space needs. Run this in a whole checkout of "
            "Backtalk."
        )


def _refuse_secrets(files: Mapping[str, bytes | Path]) -> None:
    ours = [os.environ.get(name, "").encode() for name in SECRETS]
    known = [secret for secret in ours if len(secret) >= SHORTEST]
    for path, content in files.items():
        text = content if isinstance(content, bytes) else content.read_bytes()
        if TOKEN.search(text) or any(secret in text for secret in known):
            raise BacktalkError(
                f"{path} holds what looks like a secret, and a Space shows its files to everyone. Take it "
                "out of the file, withdraw it, and run the same command again."
            )
