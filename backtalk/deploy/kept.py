"""What outlives a machine that is lent: the state folder, whole, on a mounted bucket.

    kept = Kept(Path("/state"))
    kept.restore(home())        the newest copy that is whole; False where there is none
    kept.keep(home())           one more copy; the two newest stay
    with kept.meanwhile(home()): work()     a copy every five minutes, and a last one at the end

How a mounted bucket treats renames and half-written files is not documented, so nothing relies on it: a copy
is one new file whose name is the hash of what is in it, and one that was cut short is passed over.
"""

import re
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import copyfile

from backtalk.files import sha256_of

BETWEEN_COPIES = 300.0  # seconds
STAYING = 2
NAME = re.compile(r"(?P<number>\d{8})-(?P<sha256>[0-9a-f]{64})\.tar")
PASSING = ("hub", "secret")  # what can be fetched or made again; a secret stays on its machine


class Kept:
    """Copies of a state folder in another folder."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def restore(self, folder: Path) -> bool:
        """Puts the newest whole copy into the folder; False where there is none."""
        for path, sha256 in reversed(self._copies()):
            if sha256_of(path) != sha256:
                continue
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
            return True
        return False

    def keep(self, folder: Path) -> Path:
        """One more copy of the folder, and the oldest ones gone."""
        copies = self._copies()
        number = int(copies[-1][0].name.partition("-")[0]) + 1 if copies else 1
        with tempfile.TemporaryDirectory() as scratch:
            whole = Path(scratch) / "state.tar"
            _pack(folder, whole)
            self._place.mkdir(parents=True, exist_ok=True)
            path = self._place / f"{number:08}-{sha256_of(whole)}.tar"
            copyfile(whole, path)
        for old, _ in self._copies()[:-STAYING]:
            old.unlink(missing_ok=True)
        return path

    @contextmanager
    def meanwhile(self, folder: Path, seconds: float = BETWEEN_COPIES) -> Iterator[None]:
        """Keeps a copy every so often while the block runs, and one at its end, however that comes."""
        over = threading.Event()

        def copy() -> None:
            while not over.wait(seconds):
                try:
                    self.keep(folder)
                except OSError as fault:  # a bucket that is away for a moment
                    print(f"No copy of the state was kept this time ({fault}); the next one is tried soon.")

        keeper = threading.Thread(target=copy, name="keeper", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()
            self.keep(folder)

    def _copies(self) -> list[tuple[Path, str]]:
        """Each with the hash that its name tells, the newest last."""
        if not self._place.is_dir():
            return []
        named = ((path, NAME.fullmatch(path.name)) for path in sorted(self._place.iterdir()))
        return [(path, found["sha256"]) for path, found in named if found]


def _pack(folder: Path, archive: Path) -> None:
    """The folder's files as one file. What vanishes while it is read was on its way out anyway."""
    with tarfile.open(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder)
            if place.parts[0] in PASSING or any(part.startswith(".") for part in place.parts):
                continue
            if path.is_file():
                with suppress(FileNotFoundError):
                    packed.add(path, place.as_posix())
