"""Where a source's rows are: files, a curated set, the Hub, or with --offline the project's own samples."""

from dataclasses import dataclass
from pathlib import Path

from backtalk.card import NAME as CARD
from backtalk.card import Card, read_card
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import sha256_of
from backtalk.home import home
from training.data.known import KNOWN, Dataset, samples
from training.data.read import READERS
from training.data.recipe import Source

CURATED = "curated set"


@dataclass(frozen=True)
class Place:
    """A source with what is known of its dataset: `files` to read, else `repo` at `revision`."""

    source: Source
    known: Dataset = Dataset()
    files: tuple[Path, ...] = ()
    curated: Path | None = None
    repo: str = ""
    revision: str = ""
    note: str = ""

    @property
    def columns(self) -> dict[str, str]:
        """What the recipe says of the columns; the known dataset's words where it says nothing."""
        return self.source.columns or self.known.columns

    @property
    def prompt(self) -> str:
        """The prompt variant, if any; a recipe that names the prompt's column wants none."""
        return self.source.prompt or ("" if self.source.columns else self.known.prompt)

    @property
    def stratify(self) -> str:
        return self.source.stratify or self.known.stratify


def locate(source: Source, offline: bool) -> Place:
    """Where the rows of a source are. Raises one sentence where there is no such place."""
    if source.path:
        return _here(source)
    known = KNOWN.get(source.name) or next(
        (dataset for dataset in KNOWN.values() if dataset.repo == source.repo), Dataset()
    )
    repo = source.repo or known.repo
    if not offline:
        return Place(source, known, repo=repo, revision=source.revision or known.revision)
    own = samples(repo, source.split)
    if own is None:
        raise WordsError(
            f"{source.label} needs the network, and --offline was given. Without it there are rows of "
            f"{', '.join(KNOWN)} (their splits), and of files."
        )
    return Place(source, known, files=(own,), note=f"offline: {own.name} stands in for {repo}")


def curated_file(folder: Path, name: str) -> Path | None:
    """`name`.jsonl of a curated set, proven to be what its card says; None where the set has none."""
    card = read_card(folder)
    path = folder / f"{name}.jsonl"
    stated = {entry["path"]: entry["sha256"] for entry in card.outputs}
    if path.name not in stated:
        return None
    if not path.is_file() or sha256_of(path) != stated[path.name]:
        raise BacktalkError(
            f"{path} is not what the set's card says: it was changed or lost. Make the set again with "
            "backtalk curate."
        )
    return path


def _here(source: Source) -> Place:
    path = Path(source.path).expanduser()
    if not path.exists() and (home() / source.path).exists():
        path = home() / source.path
    if path.is_file():
        return Place(source, files=(path,))
    if not path.is_dir():
        raise WordsError(f"There is no {source.path}; a file, a folder of files or a curated set was wanted.")
    if _is_curated(path):
        return Place(source, curated=path)
    found = tuple(sorted(file for file in path.iterdir() if file.suffix in READERS and file.name != CARD))
    kinds = {file.suffix for file in found}
    if len(kinds) != 1:
        what = " and ".join(sorted(kinds)) or f"no {', '.join(READERS)}"
        raise WordsError(f"{path} holds {what}; files of one of these kinds were wanted, or a curated set.")
    return Place(source, files=found)


def _is_curated(folder: Path) -> bool:
    """A set without its card is not finished, and read_card says so."""
    if (folder / "manifest.jsonl").is_file():
        return True
    card: Card | None = read_card(folder) if (folder / CARD).is_file() else None
    return card is not None and card.kind == CURATED
