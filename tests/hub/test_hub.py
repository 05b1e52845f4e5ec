"""The local Hub answers the real clients as the Hub does, and goes wrong as told."""

import json
import sys
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub.call import Token
from tests.hub.elsewhere import python, run
from tests.hub.faults import cut, late, status
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own

NAME = "somebody/flags"
DATASET = {"repo_id": NAME, "repo_type": "dataset"}


@pytest.fixture
def api(hub: Hub) -> HfApi:
    """The real client, with a private dataset to write to."""
    api = HfApi(endpoint=hub.endpoint, token="hf_write")
    api.create_repo(**DATASET, private=True)
    return api


def add(api: HfApi, files: dict[str, bytes], **more: str) -> str:
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(**DATASET, operations=operations, commit_message="more", **more).oid


def read(api: HfApi, path: str, tmp_path: Path, revision: str = "main") -> bytes:
    found = hf_hub_download(
        NAME,
        path,
        repo_type="dataset",
        revision=revision,
        cache_dir=tmp_path / "cache",
        endpoint=api.endpoint,
        token=api.token,
    )
    return Path(found).read_bytes()


def test_what_is_committed_can_be_downloaded(api: HfApi, tmp_path: Path) -> None:
    large = bytes(range(256)) * 100
    oid = add(api, {"data/a.jsonl": b"{}\n", "data/b.jsonl.gz": large, "empty": b""})
    assert api.dataset_info(NAME).sha == oid
    assert read(api, "data/a.jsonl", tmp_path) == b"{}\n"
    assert read(api, "data/b.jsonl.gz", tmp_path, oid) == large
    assert sorted(api.list_repo_files(**DATASET)) == [
        ".gitattributes",
        "data/a.jsonl",
        "data/b.jsonl.gz",
        "empty",
    ]
    [entry] = api.get_paths_info(NAME, "data/b.jsonl.gz", repo_type="dataset", expand=True)
    assert (entry.size, entry.last_commit.oid) == (len(large), oid)


def test_a_repeated_commit_changes_nothing(api: HfApi) -> None:
    oid = add(api, {"a": b"1", "b.gz": b"2"})
    assert add(api, {"a": b"1", "b.gz": b"2"}) == oid
    assert len(api.list_repo_commits(**DATASET)) == 2


def test_a_commit_on_an_old_head_is_refused(api: HfApi) -> None:
    old = add(api, {"a": b"1"})
    add(api, {"a": b"2"}, parent_commit=old)
    with pytest.raises(HfHubHTTPError) as refusal:
        add(api, {"a": b"3"}, parent_commit=old)
    assert refusal.value.response.status_code == 412


def test_files_and_folders_can_be_deleted_and_missing_ones_cannot(api: HfApi) -> None:
    add(api, {"a/1": b"1", "a/2": b"2", "b": b"3"})
    api.create_commit(**DATASET, operations=[CommitOperationDelete("a/")], commit_message="less")
    assert sorted(api.list_repo_files(**DATASET)) == [".gitattributes", "b"]
    with pytest.raises(EntryNotFoundError):
        api.create_commit(**DATASET, operations=[CommitOperationDelete("a/1")], commit_message="less")


def test_a_long_listing_comes_page_by_page(api: HfApi, hub: Hub) -> None:
    add(api, {f"data/{number:04}": b"" for number in range(2100)})
    hub.requests.clear()
    assert len(list(api.list_repo_tree(**DATASET, path_in_repo="data", recursive=True))) == 2100
    assert hub.requests == ["tree"] * 3
    assert [entry.path for entry in api.list_repo_tree(**DATASET)] == [".gitattributes", "data"]


def test_branches_and_tags_name_commits(api: HfApi, tmp_path: Path) -> None:
    first = add(api, {"a": b"1"})
    api.create_tag(**DATASET, tag="v1")
    api.create_branch(**DATASET, branch="refs/pr/1", revision="v1", exist_ok=True)
    add(api, {"a": b"2"})
    assert read(api, "a", tmp_path, "v1") == read(api, "a", tmp_path, first) == b"1"
    assert {ref.name for ref in api.list_repo_refs(**DATASET).tags} == {"v1"}
    api.create_tag(**DATASET, tag="v1", exist_ok=True)
    with pytest.raises(RevisionNotFoundError):
        read(api, "a", tmp_path, "v2")


def test_squashing_leaves_no_trace_of_the_past(api: HfApi, hub: Hub, tmp_path: Path) -> None:
    old = add(api, {"a": b"a secret", "b.gz": b"a large secret"})
    api.create_commit(**DATASET, operations=[CommitOperationDelete("b.gz")], commit_message="less")
    add(api, {"a": b"nothing"})
    api.super_squash_history(**DATASET)
    assert len(api.list_repo_commits(**DATASET)) == 1
    assert read(api, "a", tmp_path) == b"nothing"
    with pytest.raises(RevisionNotFoundError):
        read(api, "a", tmp_path, old)
    assert found(hub, b"a secret") == 0
    assert found(hub, b"a large secret") == 1  # large files outlive a squash, as on the Hub
    api.permanently_delete_lfs_files(NAME, api.list_lfs_files(NAME, repo_type="dataset"), repo_type="dataset")
    assert found(hub, b"a large secret") == 0


def test_a_private_repository_is_not_there_for_strangers(api: HfApi, hub: Hub) -> None:
    stranger = HfApi(endpoint=hub.endpoint, token=False)
    with pytest.raises(RepositoryNotFoundError):
        stranger.dataset_info(NAME)
    assert not stranger.repo_exists(NAME, repo_type="dataset")
    api.update_repo_settings(NAME, repo_type="dataset", private=False)
    assert stranger.dataset_info(NAME).private is False


def test_a_token_writes_what_it_may_and_no_more(hub: Hub, tmp_path: Path) -> None:
    tokens = {"hf_space": Token("space", (NAME,))}
    with Hub(tmp_path / "other", tokens=tokens) as other:
        space = HfApi(endpoint=other.endpoint, token="hf_space")
        space.create_repo(**DATASET)
        space.auth_check(**DATASET, write=True)
        with pytest.raises(HfHubHTTPError) as refusal:
            space.create_repo("space/other")
        assert refusal.value.response.status_code == 403


def test_what_was_answered_is_kept_over_a_restart(tmp_path: Path, hub: Hub) -> None:
    with Hub(tmp_path / "kept") as before:
        api = HfApi(endpoint=before.endpoint, token="hf_write")
        api.create_repo(**DATASET)
        oid = add(api, {"a": b"1"})
    with Hub(tmp_path / "kept") as after:
        assert HfApi(endpoint=after.endpoint).dataset_info(NAME).sha == oid


def test_a_fault_before_the_commit_leaves_it_out_and_one_after_leaves_it_in(api: HfApi, hub: Hub) -> None:
    for number, fault in enumerate(
        (cut(), status(409), status(429), cut(after=True), status(500, after=True), cut(half=True))
    ):
        hub.faults.next("commit", fault)
        with pytest.raises((HTTPError, HfHubHTTPError)):
            add(api, {f"{number}": b"1"})
        assert (f"{number}" in api.list_repo_files(**DATASET)) == fault.after
    hub.faults.next("commit", late(0.01))
    add(api, {"late": b"1"})


def test_random_faults_follow_their_seed(hub: Hub) -> None:
    def drawn() -> list:
        hub.faults.at_random(0.3, seed=4)
        return [hub.faults.draw("commit") for _ in range(1000)]

    first = drawn()
    assert first == drawn()
    assert len([fault for fault in first if fault]) == 300


def test_load_dataset_reads_every_row(api: HfApi, hub: Hub, tmp_path: Path) -> None:
    add(api, {f"data/{number}.jsonl": json.dumps({"n": number}).encode() + b"\n" for number in range(3)})
    program = (
        "import datasets; print([row['n'] for row in datasets.load_dataset('somebody/flags', split='train')])"
    )
    assert python(hub, program, tmp_path).strip() == "[0, 1, 2]"


def test_the_hf_command_uploads_and_downloads(api: HfApi, hub: Hub, tmp_path: Path) -> None:
    hf = str(Path(sys.executable).with_name("hf"))
    (tmp_path / "note.txt").write_text("hello")
    assert "somebody" in run(hub, hf, "auth", "whoami", folder=tmp_path)
    run(
        hub,
        hf,
        "upload",
        NAME,
        str(tmp_path / "note.txt"),
        "note.txt",
        "--repo-type",
        "dataset",
        folder=tmp_path,
    )
    target = str(tmp_path / "there")
    run(
        hub,
        hf,
        "download",
        NAME,
        "note.txt",
        "--repo-type",
        "dataset",
        "--local-dir",
        target,
        folder=tmp_path,
    )
    assert (tmp_path / "there" / "note.txt").read_text() == "hello"


def found(hub: Hub, secret: bytes) -> int:
    """How many files of the Hub hold this text."""
    return sum(secret in path.read_bytes() for path in hub.store.folder.rglob("*") if path.is_file())
