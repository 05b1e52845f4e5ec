"""The only door to the Hugging Face Hub: nothing else imports huggingface_hub.

    download(repo, file)                       a file of a model repository, into the state folder
    head(dataset)                              where a dataset stands: commit, private or not; None: not there
    commit(dataset, {path: bytes}, message)    one commit, tried until it is confirmed or patience ends
    large_files(repo, commit)                  the sha256 of each large file of a model repository
    hashes(dataset, commit)                    what proves that a file was read as it is there

Spaces, Jobs and what a token may do have files of their own beside this one.

A name means a dataset, or another repository with `kind="model"` or `kind="space"`. The client's many
exceptions become one NetworkError with a calm sentence. What may pass by itself (409, 429, 5xx, a lost
answer) is tried again with growing, uneven pauses. HF_ENDPOINT and HF_TOKEN are read at each call.
"""

import os
import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

from backtalk.errors import NetworkError
from backtalk.home import home

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TRY_SECONDS = 60.0  # one request; the Hub itself gives up after a minute, the client never would
PATIENCE_SECONDS = 180.0  # all tries of one call together
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # between tries, doubling, each stretched or shortened by up to a half
PASSING = frozenset({408, 409, 412, 429})  # and whatever the Hub's own faults are, from 500 on
HEAD_MOVED = 412

Result = TypeVar("Result")


Kind = Literal["dataset", "model", "space"]
FOLDERS: dict[Kind, str] = {"dataset": "datasets/", "model": "", "space": "spaces/"}  # in addresses


@dataclass(frozen=True)
class Head:
    """Where a repository stands."""

    commit: str
    private: bool


class _Passing(Exception):
    """A fault that may pass by itself. `status` 0: no answer; `pause`: what the Hub asked for, in seconds."""

    def __init__(self, status: int, pause: float = 0.0):
        super().__init__(f"it answered {status}" if status else "it gave no answer")
        self.status, self.pause = status, pause


def download(repo: str, file: str, revision: str = "") -> Path:
    """The local path of a file of a model repository, fetched with a progress bar when it is not there yet.

    Raises NetworkError when the Hub cannot be reached or says no.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    place = f"hf://{repo}{'@' + revision if revision else ''}/{file}"
    try:
        return Path(
            hf_hub_download(
                repo,
                file,
                revision=revision or None,
                cache_dir=home() / "hub",
                endpoint=os.environ.get("HF_ENDPOINT") or None,
                token=_token(),
            )
        )
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError) as fault:
        raise NetworkError(
            f"{place} is not on this machine and the Hub was not reached. Connect to the network and try "
            "again (a broken download continues where it stopped), or use the bundled model: --model mini."
        ).called("not_fetched", file=place) from fault
    except HfHubHTTPError as fault:
        status = fault.response.status_code if fault.response is not None else "no"
        raise NetworkError(
            f"The Hub answered {status} for {place}. Check the address; a private or gated repository needs "
            "a token in HF_TOKEN."
        ) from fault
    except ValueError as fault:  # the client refuses malformed repository names before it asks
        raise NetworkError(
            f"{place} is not an address on the Hub ({fault}). Wanted: hf://owner/repo/file.gguf."
        ) from fault


def load_client() -> None:
    """Loads the client now, where the first call would come too late or at a bad moment."""
    _api()


def has_token() -> bool:
    """True where the Hub will know who we are: HF_TOKEN, or a login of the `hf` command."""
    return bool(_token())


def head(dataset: str, patience: float = PATIENCE_SECONDS, *, kind: Kind = "dataset") -> Head | None:
    """Where the repository stands; None where there is none that this token may see."""
    from huggingface_hub.errors import RepositoryNotFoundError

    def ask() -> Head | None:
        try:
            info = _api().repo_info(dataset, repo_type=kind)
        except RepositoryNotFoundError:
            return None
        return Head(str(info.sha), bool(info.private))

    return _patiently(ask, dataset, patience)


def create_private(dataset: str, patience: float = PATIENCE_SECONDS) -> None:
    """Makes the dataset, private; one that is there stays as it is."""
    create(dataset, patience)


def create(
    name: str, patience: float = PATIENCE_SECONDS, *, kind: Kind = "dataset", private: bool = True
) -> None:
    """Makes the repository; one that is there stays as it is, private or not."""
    _patiently(
        lambda: _api().create_repo(name, repo_type=kind, private=private, exist_ok=True), name, patience
    )


def files(
    dataset: str, commit: str, patience: float = PATIENCE_SECONDS, *, kind: Kind = "dataset"
) -> frozenset[str]:
    """The paths of all files at a commit."""

    def ask() -> frozenset[str]:
        return frozenset(_api().list_repo_files(dataset, repo_type=kind, revision=commit))

    return _patiently(ask, dataset, patience)


def large_files(repo: str, commit: str, patience: float = PATIENCE_SECONDS) -> dict[str, str]:
    """The sha256 of each large file (a GGUF is one) of a model repository at a commit, by path."""

    def ask() -> dict[str, str]:
        entries = _api().list_repo_tree(repo, repo_type="model", revision=commit, recursive=True)
        return {entry.path: lfs.sha256 for entry in entries if (lfs := getattr(entry, "lfs", None))}

    return _patiently(ask, repo, patience)


def hashes(
    dataset: str, commit: str, patience: float = PATIENCE_SECONDS, *, kind: Kind = "dataset"
) -> dict[str, str]:
    """What each file at a commit hashes to, by path: a large one its sha256, any other its id in git."""

    def ask() -> dict[str, str]:
        entries = _api().list_repo_tree(dataset, repo_type=kind, revision=commit, recursive=True)
        files: list[Any] = [entry for entry in entries if hasattr(entry, "blob_id")]  # folders have none
        return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files}

    return _patiently(ask, dataset, patience)


def read(
    dataset: str, path: str, commit: str, patience: float = PATIENCE_SECONDS, *, kind: Kind = "dataset"
) -> bytes:
    """A file at a commit, into memory alone: what is deleted on the Hub must not live on in a cache here."""
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    def ask() -> bytes:
        address = f"{_api().endpoint}/{FOLDERS[kind]}{dataset}/resolve/{commit}/{path}"
        response = get_session().get(address, headers=build_hf_headers(token=_token()))
        hf_raise_for_status(response)
        return response.content

    return _patiently(ask, f"{dataset}/{path}", patience)


def commit(
    dataset: str,
    add: Mapping[str, bytes] | Mapping[str, bytes | Path] | Mapping[str, bytes | BinaryIO],
    message: str,
    *,
    delete: Collection[str] = (),
    parent: str = "",
    patience: float = PATIENCE_SECONDS,
    kind: Kind = "dataset",
) -> str:
    """The id of a commit that holds these files and not the deleted ones; returns once it is confirmed.

    A file that is given as a path is read from there, piece by piece.

    A commit whose answer was lost is noticed: the same files again are no change, and the head is returned.
    With `parent`, an empty id says that the head was another, and this try changed nothing.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import HfHubHTTPError

    def ask() -> str:
        # Fresh operations at each try: the client refuses those that it has used.
        operations: list[Any] = [
            *(CommitOperationAdd(path, content) for path, content in add.items()),
            *(CommitOperationDelete(path) for path in delete),
        ]
        try:
            made = _api().create_commit(
                dataset,
                operations,
                commit_message=message,
                repo_type=kind,
                parent_commit=parent or None,
            )
        except HfHubHTTPError as fault:
            if parent and fault.response.status_code == HEAD_MOVED:
                return ""
            raise
        except ValueError as fault:  # the Hub reads the metadata of a README.md before anything goes up
            if "README.md" not in str(fault):
                raise
            raise NetworkError(f"The Hub cannot use the metadata of {dataset}: {fault}") from fault
        return made.oid

    return _patiently(ask, dataset, patience)


def forget_past(dataset: str, message: str, patience: float = PATIENCE_SECONDS) -> list[str]:
    """Makes the main branch one commit without a past, and deletes large files that it does not hold.

    Returns the branches and tags beside it, which keep theirs.
    """

    def ask() -> list[str]:
        api = _api()
        api.super_squash_history(dataset, repo_type="dataset", commit_message=message)
        entries = api.list_repo_tree(dataset, repo_type="dataset", recursive=True)
        held = {lfs.sha256 for entry in entries if (lfs := getattr(entry, "lfs", None))}
        old = [file for file in api.list_lfs_files(dataset, repo_type="dataset") if file.oid not in held]
        api.permanently_delete_lfs_files(dataset, old, repo_type="dataset")
        refs = api.list_repo_refs(dataset, repo_type="dataset", include_pull_requests=True)
        beside = [*refs.branches, *refs.converts, *refs.tags, *(refs.pull_requests or ())]
        return [f"{ref.ref} of {dataset}" for ref in beside if ref.ref != "refs/heads/main"]

    return _patiently(ask, dataset, patience)


def _patiently(ask: Callable[[], Result], place: str, patience: float) -> Result:
    """The result of `ask`, asked again while it fails in ways that pass and patience lasts."""
    end, pause = time.monotonic() + patience, FIRST_PAUSE
    while True:
        try:
            return _once(ask, place)
        except _Passing as fault:
            wait = max(fault.pause, pause * random.uniform(0.5, 1.5))
            if time.monotonic() + wait > end:
                raise NetworkError(
                    f"The Hub was not reached for {place}: at last {fault}. Nothing is lost; try again later."
                ) from fault
        time.sleep(wait)
        pause = min(2 * pause, LONGEST_PAUSE)


def _once(ask: Callable[[], Result], place: str) -> Result:
    """The result of one try; what may pass becomes _Passing, what will not becomes NetworkError."""
    from huggingface_hub import errors

    try:
        return ask()
    except errors.HfHubHTTPError as fault:
        status = fault.response.status_code
        if status in PASSING or status >= 500:
            raise _Passing(status, _asked_pause(fault.response.headers)) from fault
        raise NetworkError(_no(place, status)) from fault
    except errors.OfflineModeIsEnabled as fault:
        raise NetworkError(
            f"HF_HUB_OFFLINE is set, so {place} was not asked for. Unset it to reach the Hub."
        ) from fault
    except errors.HFValidationError as fault:
        raise NetworkError(
            f"{place!r} is not a name on the Hub. Wanted: owner/name, as in somebody/flags."
        ) from fault
    except (errors.HTTPError, OSError, JSONDecodeError) as fault:  # the last from a network's own login page
        raise _Passing(0) from fault
    except RuntimeError as fault:  # the client's wrapping of a large file that did not get through
        if isinstance(fault.__cause__, errors.HTTPError):
            raise _Passing(0) from fault
        raise


def _asked_pause(headers: Mapping[str, str]) -> float:
    asked = headers.get("Retry-After", "")
    return float(asked) if asked.isdecimal() else 0.0


def _no(place: str, status: int) -> str:
    if status == 402:
        return f"The Hub wants a paid plan for {place} (402)."
    if status in (401, 404):
        return (
            f"The Hub has no {place} that we may see ({status}). Check the name, and that the token in "
            "HF_TOKEN may read and write it."
        )
    if status == 403:
        return f"The token in HF_TOKEN may not write {place} (403). Give it write access there."
    return f"The Hub answered {status} for {place}. Look at the repository's page on the Hub."


def _api(token: str = "") -> "HfApi":
    """A client for where HF_ENDPOINT points to now, with our own token where no other is given."""
    from huggingface_hub import HfApi

    _set_up_client()
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token or _token())


def _token() -> str | None:
    """Ours, given to each call: the client may be told not to take it by itself."""
    from huggingface_hub import get_token

    return get_token()


@cache
def _set_up_client() -> None:
    """Gives every request of this process an end, and keeps the client's commentary off the terminal."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import logging
    from huggingface_hub.utils._http import default_client_factory

    def client() -> Any:
        made = default_client_factory()
        made.timeout = TRY_SECONDS
        return made

    set_client_factory(client)
    if "HF_HUB_VERBOSITY" not in os.environ:
        logging.set_verbosity_error()
