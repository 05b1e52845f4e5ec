"""The base of a run: its folder, and every file of it with its sha256, as the card of the run names it.

base = find_base("mini", "")                          the bundled model
base = find_base("path/to/folder", "")                a Hugging Face folder
base = find_base("owner/repo", "0123abc...")          a repository on the Hub, fetched where it is not here
"""

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from backtalk import hub, models
from backtalk.errors import ModelError, WordsError
from backtalk.files import read_json, sha256_of
from backtalk.home import home

MINI = models.MINI.parent
FILES = ("config.json", "generation_config.json", "README.md", "tokenizer*", "special_tokens_map.json",
         "added_tokens.json", "vocab.json", "merges.txt", "*.jinja", "*.safetensors",
         "*.safetensors.index.json")  # fmt: skip
NEEDED = ("config.json", "tokenizer.json", "*.safetensors")
ON_HUB = re.compile(r"[\w.-]+/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Base:
    """A folder with a whole model; `repo` and `revision` are empty where it is no repository's."""

    folder: Path
    repo: str = ""
    revision: str = ""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's config.json."""
        return dict(read_json(self.folder / "config.json"))

    @cached_property
    def entries(self) -> list[dict[str, Any]]:
        """One entry of the card's `inputs` for each file, the weights among them: this reads them whole."""
        place = {"repo": self.repo, "revision": self.revision} if self.repo else {"folder": str(self.folder)}
        return [
            {"role": "base", **place, "path": path.name, "sha256": sha256_of(path),
             "bytes": path.stat().st_size}
            for path in sorted(self.folder.iterdir())
            if _belongs(path.name)
        ]  # fmt: skip

    @property
    def weight_bytes(self) -> int:
        """What the weights take on disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    @property
    def values(self) -> int:
        """How many numbers the model has, by the heads of its weight files."""
        from safetensors import safe_open

        count = 0
        for path in self.folder.glob("*.safetensors"):
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118  (safe_open is no mapping)
                    size = 1
                    for length in file.get_slice(name).get_shape():
                        size *= length
                    count += size
        return count


def find_base(model: str, revision: str) -> Base:
    """The base that a recipe names. Raises ModelError, NetworkError or WordsError."""
    if model == "mini":
        return _whole(Base(MINI))
    if model.endswith(".gguf") or model.startswith("hf://"):
        raise WordsError(
            f"base.model is '{model}', a file to serve; training needs the model's Hugging Face folder, "
            "or its repository as owner/repo."
        )
    if Path(model).is_dir():
        return _whole(Base(Path(model).resolve()))
    if ON_HUB.fullmatch(model) and not model.startswith("."):
        return _whole(_fetched(model, revision))
    raise ModelError(
        f"base.model is '{model}', and there is no such folder. "
        "Name mini, a Hugging Face folder, or a repository as owner/repo."
    )


def _whole(base: Base) -> Base:
    names = [path.name for path in base.folder.iterdir()]
    lacking = [wanted for wanted in NEEDED if not any(fnmatch(name, wanted) for name in names)]
    if lacking:
        raise ModelError(
            f"{base.folder} lacks {', '.join(lacking)}; a whole Hugging Face model was wanted. "
            "Name another folder as base.model."
        )
    if base.config.get("quantization_config"):
        raise ModelError(
            f"The weights in {base.folder} are quantized already; a 16-bit base was wanted, "
            "since an adapter is merged into it later. To hold it in 4 bits while training, set "
            "base.load_in_4bit."
        )
    return base


def _fetched(repo: str, revision: str) -> Base:
    """The repository at a commit, under BACKTALK_HOME/hub; a commit that is here needs no network."""
    kept = home() / "hub" / f"models--{repo.replace('/', '--')}" / "snapshots" / revision
    if COMMIT.fullmatch(revision) and kept.is_dir() and (kept / "config.json").exists():
        return Base(kept, repo, revision)
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        raise ModelError(
            f"{repo}{'@' + revision if revision else ''} is not on this machine, and --offline keeps it so. "
            "Run once without --offline, or name a base that is here, with base.revision as its full commit."
        )
    commit = revision if COMMIT.fullmatch(revision) else _head(repo, revision)
    wanted = sorted(name for name in hub.files(repo, commit, kind="model") if _belongs(name))
    fetched = [hub.download(repo, name, commit) for name in wanted]
    if not fetched:
        raise ModelError(f"{repo} at {commit[:12]} holds no model. Name another repository as base.model.")
    return Base(fetched[0].parent, repo, commit)


def _head(repo: str, revision: str) -> str:
    if revision:
        raise WordsError(
            f"base.revision is '{revision}'; the full commit of 40 digits was wanted, so that a run can be "
            "repeated. It stands on the repository's page under History."
        )
    head = hub.head(repo, kind="model")
    if head is None:
        raise ModelError(
            f"There is no model {repo} on the Hub that this token may see. Check the name; a gated "
            "repository needs a token in HF_TOKEN."
        )
    return head.commit


def _belongs(name: str) -> bool:
    return any(fnmatch(name, wanted) for wanted in FILES)
