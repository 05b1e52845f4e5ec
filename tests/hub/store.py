"""Repositories on disk, as the local test Hub keeps them: content-addressed, so that they outlive a restart.

    <folder>/datasets/<owner>/<name>/about.json     private or not, branches and tags
                                    commits/<oid>   one JSON each: parent, title, date, the whole tree
                                    blobs/<oid>     plain bytes under their git id
                                    lfs/<sha256>    large files

Nothing is compressed or packed: `grep -r` over a folder says what its history still holds. A branch moves by
one atomic rename, so a server that dies leaves a commit whole or absent.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

MAIN = "refs/heads/main"
ATTRIBUTES = b"*.gguf filter=lfs\n*.gz filter=lfs\n*.parquet filter=lfs\n*.safetensors filter=lfs\n"
LARGE_SUFFIXES = (".gguf", ".gz", ".parquet", ".safetensors", ".bin")
LARGE_BYTES = 10_000_000  # the Hub takes smaller text files into git itself


class Refused(Exception):
    """The Hub says no: a status, the code in X-Error-Code, a sentence."""

    def __init__(self, status: int, code: str = "", message: str = "", **more: str):
        super().__init__(message or code or str(status))
        self.status, self.code, self.message, self.more = status, code, message, more


@dataclass(frozen=True)
class File:
    """One file of a tree. `lfs` is the sha256 of its content where it is a large file."""

    oid: str
    size: int
    lfs: str = ""

    @property
    def etag(self) -> str:
        return self.lfs or self.oid


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str
    title: str
    description: str
    author: str
    date: str
    tree: dict[str, File] = field(repr=False)


@dataclass
class Change:
    """What one commit does to the tree."""

    title: str
    description: str = ""
    parent: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, tuple[str, int]] = field(default_factory=dict)  # path -> sha256, size
    deleted: list[str] = field(default_factory=list)
    deleted_folders: list[str] = field(default_factory=list)


class Store:
    """All repositories of the Hub."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._open: dict[tuple[str, str], Repo] = {}
        self.jobs: list[dict] = []  # as they were asked for, in order; they do not outlive a restart
        self.schedules: dict[str, dict] = {}

    def repo(self, kind: str, name: str) -> "Repo":
        """The repository, or 404."""
        known = self._open.get((kind, name))
        if known is None or not known.exists():
            known = Repo(self.folder / f"{kind}s" / name, kind, name)
            if not known.exists():
                raise Refused(404, "RepoNotFound", f"There is no {kind} {name}.")
            self._open[kind, name] = known
        return known

    def create(self, kind: str, name: str, private: bool, author: str) -> "Repo":
        repo = Repo(self.folder / f"{kind}s" / name, kind, name)
        if repo.exists():
            raise Refused(409, message="You already created this repository.")
        repo.about = {"private": private, "created_at": now(), "refs": {}}
        repo.add(Change("initial commit", files={".gitattributes": ATTRIBUTES}), MAIN, author)
        return self.repo(kind, name)

    def delete(self, kind: str, name: str) -> None:
        shutil.rmtree(self.repo(kind, name).folder)
        del self._open[kind, name]


class Repo:
    """One repository: its commits, its branches and tags."""

    def __init__(self, folder: Path, kind: str, name: str):
        self.folder, self.kind, self.name = folder, kind, name
        self.about: dict = {}
        if self.exists():
            self.about = json.loads((folder / "about.json").read_text())
        self._commits: dict[str, Commit] = {}

    def exists(self) -> bool:
        return (self.folder / "about.json").exists()

    @property
    def private(self) -> bool:
        return self.about["private"]

    def commit(self, revision: str) -> Commit:
        """The commit that a branch, a tag, a full or a long enough id names, or 404."""
        refs = self.about["refs"]
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name in refs:
                return self._load(refs[name])
        if len(revision) >= 7 and revision.isalnum():
            for path in (self.folder / "commits").glob(f"{revision}*"):
                return self._load(path.name)
        raise Refused(404, "RevisionNotFound", f"{self.name} has no revision {revision}.")

    def log(self, commit: Commit) -> Iterator[Commit]:
        """The commit and those before it, the newest first."""
        yield commit
        while commit.parent:
            commit = self._load(commit.parent)
            yield commit

    def last_change(self, commit: Commit, path: str) -> Commit:
        """The commit that gave the file its content."""
        found = commit
        for earlier in self.log(commit):
            if earlier.tree.get(path) != commit.tree[path]:
                break
            found = earlier
        return found

    def read(self, commit: Commit, path: str) -> bytes:
        file = commit.tree.get(path)
        if file is None:
            raise Refused(404, "EntryNotFound", f"{path} is not in {self.name}.", commit=commit.oid)
        folder, name = ("lfs", file.lfs) if file.lfs else ("blobs", file.oid)
        return (self.folder / folder / name).read_bytes()

    def add(self, change: Change, ref: str, author: str) -> Commit:
        """One more commit on a branch; 412 where `change.parent` is not its head."""
        head = self._load(self.about["refs"][ref]) if ref in self.about["refs"] else None
        if change.parent and head and change.parent != head.oid:
            raise Refused(412, message="A commit has happened since. Please refresh and try again.")
        tree = self._changed(head.tree if head else {}, change)
        fresh = Commit("", head.oid if head else "", change.title, change.description, author, now(), tree)
        return self._advance(ref, fresh)

    def squash(self, branch: str, title: str, author: str) -> Commit:
        """The branch becomes one commit without a past; what nothing refers to any more is deleted.

        Large files stay, as on the Hub: they go by `delete_large`.
        """
        head = self.commit(branch)
        squashed = self._advance(f"refs/heads/{branch}", Commit("", "", title, "", author, now(), head.tree))
        kept = {commit.oid for ref in self.about["refs"].values() for commit in self.log(self._load(ref))}
        blobs = {file.oid for oid in kept for file in self._load(oid).tree.values()}
        self._sweep("commits", kept)
        self._sweep("blobs", blobs)
        self._commits.clear()
        return squashed

    def point(self, ref: str, oid: str) -> None:
        """Makes or moves a branch or tag."""
        self.about["refs"][ref] = oid
        self.save()

    def drop(self, ref: str) -> None:
        if ref not in self.about["refs"]:
            raise Refused(404, "RevisionNotFound", f"{self.name} has no {ref}.")
        del self.about["refs"][ref]
        self.save()

    def save(self) -> None:
        _write(self.folder / "about.json", json.dumps(self.about).encode())

    def has_large(self, sha256: str) -> bool:
        return (self.folder / "lfs" / sha256).exists()

    def keep_large(self, sha256: str, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Refused(422, message="The content does not have the announced sha256.")
        _write(self.folder / "lfs" / sha256, content)

    def large_files(self) -> list[Path]:
        folder = self.folder / "lfs"
        return sorted(folder.iterdir()) if folder.exists() else []

    def delete_large(self, names: list[str]) -> None:
        for name in names:
            (self.folder / "lfs" / name).unlink(missing_ok=True)

    def _changed(self, tree: Mapping[str, File], change: Change) -> dict[str, File]:
        changed = dict(tree)
        for path in change.deleted:
            if changed.pop(path, None) is None:
                raise Refused(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
        for folder in change.deleted_folders:
            changed = {path: file for path, file in changed.items() if not path.startswith(folder)}
        for path, content in change.files.items():
            oid = git_id(content)
            _write(self.folder / "blobs" / oid, content)
            changed[path] = File(oid, len(content))
        for path, (sha256, size) in change.large.items():
            if not self.has_large(sha256):
                raise Refused(400, message=f"The large file {path} was never uploaded.")
            changed[path] = File(git_id(pointer(sha256, size)), size, sha256)
        return dict(sorted(changed.items()))

    def _advance(self, ref: str, fresh: Commit) -> Commit:
        content = json.dumps({**asdict(fresh), "salt": os.urandom(8).hex()}).encode()
        oid = hashlib.sha1(content).hexdigest()
        _write(self.folder / "commits" / oid, content)
        self.point(ref, oid)
        return self._load(oid)

    def _load(self, oid: str) -> Commit:
        if oid not in self._commits:
            row = json.loads((self.folder / "commits" / oid).read_text())
            del row["salt"]
            tree = {path: File(**file) for path, file in row["tree"].items()}
            self._commits[oid] = Commit(**{**row, "oid": oid, "tree": tree})
        return self._commits[oid]

    def _sweep(self, folder: str, kept: set[str]) -> None:
        for path in (self.folder / folder).iterdir():
            if path.name not in kept:
                path.unlink()


def is_large(path: str, size: int) -> bool:
    """Whether the Hub wants this file as a large one."""
    return path.endswith(LARGE_SUFFIXES) or size > LARGE_BYTES


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """What git itself holds of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)
