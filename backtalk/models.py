"""Which model is meant: a REF becomes a GGUF on disk whose sha256 is known.

    mini                                  the bundled model
    promoted                              what promoted.json in the state folder names
    llama-3.2-1b                          an alias of backtalk/aliases.yaml, pinned by revision and sha256
    path/to/model.gguf                    a file
    hf://owner/repo[@revision]/file.gguf  a file on the Hub
    hf://owner/repo/promoted.json         what promoted.json in that model repository names
    openai:http://host/v1#name            an OpenAI-compatible endpoint and the model's name there

Without a REF it is `promoted` where there is one, else `mini`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk import hub
from backtalk.errors import ModelError, WordsError, nearest
from backtalk.files import read_json, sha256_of
from backtalk.home import home

MINI = Path(__file__).resolve().parents[1] / "models" / "mini" / "mini-Q8_0.gguf"
ON_HUB = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.+\.gguf)")
POINTER = "promoted.json"
HOST = re.compile(r"openai:\w+://(?:[^/?#]*@)?(?P<host>\[[^]]*\]|[^/:?#]+)")
POINTER_ON_HUB = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/promoted\.json")
QUANT = re.compile(r"(?:^|[-._])(I?Q\d\w*|BF16|F16|F32)\.gguf$", re.IGNORECASE)


@dataclass(frozen=True)
class Model:
    """A GGUF on disk and where it came from. `round` 0 was never taught by flags."""

    name: str
    path: Path
    sha256: str
    repo: str = ""
    revision: str = ""
    round: int = 0
    endpoint: str = ""
    """The REF of an OpenAI-compatible endpoint; such a model has no file."""

    @property
    def quant(self) -> str:
        """The quantization that the file's name states, else an empty string."""
        return quant_of(self.path.name)


def quant_of(name: str) -> str:
    """The quantization that a GGUF's name states, else an empty string."""
    found = QUANT.search(name)
    return found[1].upper() if found else ""


def name_of(ref: str) -> str:
    """What the model of a REF is called before it is opened. Visitors read it: of an endpoint without a name
    it is the host, and not the address.
    """
    if name := ref.partition("#")[2]:
        return name
    if found := HOST.match(ref):
        return found["host"]
    path = Path(ref)
    return path.stem if path.suffix in (".gguf", ".json") else path.name  # an alias may hold a dot


def default_ref() -> str:
    return "promoted" if _pointer().exists() else "mini"


def resolve(ref: str = "") -> Model:
    """The model that a REF means, fetched if need be. Raises ModelError, NetworkError or WordsError."""
    ref = ref or default_ref()
    if ref == "mini":
        return _bundled()
    if ref == "promoted":
        return _promoted()
    if pointer := POINTER_ON_HUB.fullmatch(ref):
        return _promoted_on_hub(pointer["repo"], pointer["revision"] or "")
    if ref.startswith("openai:"):
        return _endpoint(ref)
    if ref.startswith("hf://"):
        return _from_hub(ref)
    aliases = _aliases()
    if ref in aliases:
        return _from_alias(ref, aliases[ref])
    if "/" in ref or ref.endswith(".gguf"):
        path = _present(Path(ref))
        return Model(path.stem, path, sha256_of(path))
    known = ["mini", "promoted", *aliases]
    raise WordsError(
        f"'{ref}' is not a model that is known here.{nearest(ref, known)} "
        f"Known are {', '.join(known)}, a path to a .gguf file, "
        "hf://owner/repo/file.gguf, and openai:http://host/v1#name."
    )


def _present(path: Path) -> Path:
    if path.is_dir():
        found = sorted(path.glob("*.gguf"))
        if len(found) == 1:
            return found[0]
        raise ModelError(f"{path} holds {len(found)} GGUF files and one was wanted. Name the file itself.")
    if not path.is_file():
        raise ModelError(
            f"There is no model file at {path}. Check the path, or use the bundled model: --model mini."
        ).called("no_file", file=str(path))
    return path


def _pointer() -> Path:
    return home() / POINTER


def _bundled() -> Model:
    return Model("mini", _present(MINI), sha256_of(MINI))


def _promoted() -> Model:
    if not _pointer().exists():
        raise ModelError("No model has been promoted here yet. Use the bundled model: --model mini.")
    return pointed_at(read_json(_pointer()), str(_pointer()))


def _promoted_on_hub(repo: str, revision: str) -> Model:
    """What the repository's pointer names now; a repository names files of its own and no others."""
    return pointed_at(read_json(hub.download(repo, POINTER, revision)), f"hf://{repo}/{POINTER}", repo)


def pointed_at(pointer: Any, place: str, inside: str = "") -> Model:
    """The model that a pointer names: a file here or on the Hub; the bundled one where it names no file."""
    try:
        file, sha256 = pointer["file"], pointer["sha256"]
    except (KeyError, TypeError) as fault:
        raise ModelError(f"{place} names no file and sha256. Promote again, or use --model mini.") from fault
    if not file:  # rolled back to what was served before the first promotion
        return _bundled()
    repo, revision = inside or pointer.get("repo", ""), pointer.get("revision", "")
    path = hub.download(repo, file, revision) if repo else _present(home() / file)
    name = pointer.get("name") or Path(file).stem
    return Model(name, path, _checked(path, sha256), repo, revision, int(pointer.get("round", 0)))


def _endpoint(ref: str) -> Model:
    return Model(name_of(ref), Path(), "", endpoint=ref)


def _from_hub(ref: str) -> Model:
    parts = ON_HUB.fullmatch(ref)
    if not parts:
        raise WordsError(
            f"'{ref}' is not an address of a model. Wanted: hf://owner/repo[@revision]/file.gguf."
        )
    repo, revision, file = parts["repo"], parts["revision"] or "", parts["file"]
    path = hub.download(repo, file, revision)
    return Model(Path(file).stem, path, sha256_of(path), repo, revision)


def _from_alias(name: str, entry: dict[str, str]) -> Model:
    path = hub.download(entry["repo"], entry["file"], entry["revision"])
    return Model(name, path, _checked(path, entry["sha256"]), entry["repo"], entry["revision"])


def _checked(path: Path, wanted: str) -> str:
    found = sha256_of(path)
    if found != wanted:
        raise ModelError(
            f"{path} has sha256 {found[:8]} and {wanted[:8]} was wanted: it is damaged or not the same file. "
            "Delete it and start again; it is fetched anew."
        ).called("damaged_file", file=str(path))
    return found


def _aliases() -> dict[str, dict[str, str]]:
    import yaml

    return yaml.safe_load((Path(__file__).parent / "aliases.yaml").read_text(encoding="utf-8"))
