"""What others sent comes here: their flags and their decisions, each as the Hub has it now.

    catch_up(outbox)              both, for a command: a sentence where the Hub was not reached
    fetch("flags", folder)        BACKTALK_HOME/fetched/flags holds the dataset's files of flags after this

Files come one by one, each proved by the hash that the Hub lists for it, so a fetch that breaks off is
continued by the next one and nothing is fetched twice. What has left the dataset, by a compaction or a purge,
leaves the folder; of a dataset that the token may not see, nothing stays. First everything new is there, then
what is old goes: whoever reads meanwhile misses nothing, and each event counts once by its id.
"""

import fcntl
import hashlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath

from backtalk import hub
from backtalk.errors import NetworkError
from backtalk.files import read_json, write_json, writing
from backtalk.home import home
from backtalk.progress import Progress
from feedback.hub.dataset import FOLDER, VARIABLES, named
from feedback.hub.exchange import Exchange
from feedback.hub.fetched import NAME as FETCHED
from feedback.hub.fetched import Fetched
from feedback.schema import now
from feedback.store.outbox import NAME as OUTBOX
from feedback.store.outbox import Outbox

READERS = 8
PATIENCE_SECONDS = 30.0  # of somebody who waits at a terminal, for each answer
TOLD_AFTER_SECONDS = 2.0  # a fetch that takes longer says how far it is
ID_IN_GIT = 40  # characters; a sha256 has more


def catch_up(outbox: Outbox, patience: float = PATIENCE_SECONDS) -> str:
    """Fetches what others sent, where a dataset is named; returns what kept it from doing so, in words."""
    exchange, folder, faults = Exchange(outbox), Fetched.beside(outbox).folder, []
    for dataset in VARIABLES:
        if named(dataset) and hub.has_token():
            try:
                exchange.fetch(dataset, patience)
                fetch(dataset, folder, patience)
            except NetworkError as fault:
                faults.append(str(fault))
    words = " ".join(dict.fromkeys(faults))
    told = f"Flags and decisions of others may be missing: {words}" if faults else ""
    return " ".join(filter(None, [told, *exchange.refused]))


def can_fetch() -> bool:
    """Whether there is anything to fetch from, for all that is set."""
    return any(map(named, VARIABLES)) and hub.has_token()


def sources_at_home(patience: float = PATIENCE_SECONDS) -> list[Path]:
    """What `gather` reads in the state folder, with everything that others sent in the meantime."""
    if can_fetch() or (home() / OUTBOX).exists():
        with closing(Outbox(home() / OUTBOX)) as outbox:
            if missed := catch_up(outbox, patience):
                print(missed, file=sys.stderr)
    fetched = Fetched(home() / FETCHED)
    places = [home() / OUTBOX, home() / "segments", *([fetched.folder] if fetched.files() else [])]
    return [place for place in places if place.exists()]


def fetch(dataset: str, folder: Path, patience: float = PATIENCE_SECONDS) -> int:
    """Makes a folder the dataset's files of flags; returns how many files came.

    Raises NetworkError where the Hub is not reached, or where a file is not what the Hub says it is.
    """
    repository = named(dataset)
    with _alone(folder):
        head = hub.head(repository, patience)
        if head is None:
            _forget(dataset, folder)
            return 0
        if _is_there(dataset, folder, repository, head.commit):
            return 0
        listed = hub.hashes(repository, head.commit, patience)
        wanted = {path: sha for path, sha in listed.items() if _holds_flags(path)}
        there = folder / dataset
        missing = [path for path in sorted(wanted) if not _is_file_of(there / path, wanted[path])]
        _bring(repository, head.commit, {path: wanted[path] for path in missing}, there, patience)
        _remove_others(there, {there / path for path in wanted})
        head_there = {"repository": repository, "commit": head.commit, "files": len(wanted), "at": now()}
        write_json(_note(dataset, folder), head_there)
    return len(missing)


def _bring(repository: str, commit: str, wanted: Mapping[str, str], there: Path, patience: float) -> None:
    """Writes the files that prove to be what is wanted; some are there even where one fails."""

    def bring(path: str) -> None:
        content = hub.read(repository, path, commit, patience)
        if hash_of(content, wanted[path]) != wanted[path]:
            raise NetworkError(
                f"The file {path} of {repository} came otherwise than the Hub lists it, and was not kept. "
                "Run it again; if it stays so, look at the file on the Hub."
            )
        with writing(there / path) as file:
            file.write(content)

    progress, began, told = Progress(), time.monotonic(), False
    with ThreadPoolExecutor(READERS) as readers:
        for count, _ in enumerate(readers.map(bring, wanted), start=1):
            if time.monotonic() - began > TOLD_AFTER_SECONDS:
                told = True
                progress.report(f"{count:,} of {len(wanted):,} files of {repository}")
    if told:
        progress.done(f"{len(wanted):,} files of {repository} came")


def hash_of(content: bytes, like: str) -> str:
    """The hash of a file as the Hub lists it: a large one's sha256, any other's id in git."""
    if len(like) == ID_IN_GIT:
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return hashlib.sha256(content).hexdigest()


def _holds_flags(path: str) -> bool:
    """Whether a dataset's card counts the file among the flags, and its name stays within a folder."""
    parts = PurePosixPath(path).parts
    return path.startswith(f"{FOLDER}/") and path.endswith((".jsonl", ".jsonl.gz")) and ".." not in parts


def _is_file_of(path: Path, sha: str) -> bool:
    return path.is_file() and hash_of(path.read_bytes(), sha) == sha


def _is_there(dataset: str, folder: Path, repository: str, commit: str) -> bool:
    """Whether this commit was fetched completely."""
    note = _note(dataset, folder)
    head = read_json(note) if note.exists() else {}
    return (head.get("repository"), head.get("commit")) == (repository, commit)


def _remove_others(there: Path, wanted: set[Path]) -> None:
    for path in sorted(there.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()


def _forget(dataset: str, folder: Path) -> None:
    """Nothing stays of a dataset that is not there, or not for this token."""
    _note(dataset, folder).unlink(missing_ok=True)
    shutil.rmtree(folder / dataset, ignore_errors=True)


def _note(dataset: str, folder: Path) -> Path:
    return folder / f"{dataset}.json"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process at a time changes the folder: two heads would make a mixture of it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
