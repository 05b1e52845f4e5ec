"""The door to the Hub, against a Hub on this machine that goes wrong as told."""

import time
from types import SimpleNamespace

import pytest

from backtalk import hub as door
from backtalk.errors import NetworkError
from tests.hub.call import Answer, Token
from tests.hub.faults import Fault, cut, status
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]

NAME = "somebody/flags"


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No test waits; the pauses that there would have been."""
    pauses: list[float] = []
    monkeypatch.setattr(door, "time", SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic))
    return pauses


@pytest.fixture
def dataset(hub: Hub) -> Hub:
    door.create_private(NAME)
    hub.requests.clear()
    return hub


def content(hub: Hub, path: str) -> bytes:
    repo = hub.store.repo("dataset", NAME)
    return repo.read(repo.commit("main"), path)


def commits(hub: Hub) -> int:
    repo = hub.store.repo("dataset", NAME)
    return len(list(repo.log(repo.commit("main"))))


def test_a_dataset_that_is_not_there_is_made_private_once(hub: Hub) -> None:
    assert door.head(NAME) is None
    door.create_private(NAME)
    door.create_private(NAME)
    made = door.head(NAME)
    assert made and made.private and commits(hub) == 1


def test_a_commit_adds_and_deletes_at_once(dataset: Hub) -> None:
    first = door.commit(NAME, {"data/a": b"1", "data/b": b"2"}, "more")
    second = door.commit(NAME, {"data/c": b"3"}, "other", delete=["data/a"])
    assert door.files(NAME, first) == {".gitattributes", "data/a", "data/b"}
    assert door.files(NAME, second) == {".gitattributes", "data/b", "data/c"}
    assert door.read(NAME, "data/b", second) == b"2"
    assert door.head(NAME) == door.Head(second, private=True)


@pytest.mark.parametrize(
    "fault",
    [
        *(status(code) for code in (408, 409, 412, 429, 500, 502, 503, 504, 522)),
        cut(),
        cut(after=True),
        cut(half=True),
        status(500, after=True),
        status(504, after=True),
    ],
    ids=lambda fault: f"{fault.status or 'cut'}{'-after' * fault.after}{'-half' * fault.half}",
)
def test_a_commit_is_there_once_whatever_goes_wrong(dataset: Hub, fault: Fault) -> None:
    dataset.faults.next("commit", fault, fault)
    made = door.commit(NAME, {"a": b"1"}, "more")
    assert content(dataset, "a") == b"1"
    assert commits(dataset) == 2
    assert door.head(NAME) == door.Head(made, private=True)


def test_pauses_grow_and_follow_what_the_hub_asks_for(dataset: Hub, quick_pauses: list[float]) -> None:
    dataset.faults.next("commit", status(503), status(503), status(503), status(429, retry_after="17"))
    door.commit(NAME, {"a": b"1"}, "more")
    assert 0.5 <= quick_pauses[0] <= 1.5 and 1 <= quick_pauses[1] <= 3 and 2 <= quick_pauses[2] <= 6
    assert quick_pauses[3] == 17


def test_patience_ends_with_a_sentence(dataset: Hub) -> None:
    dataset.faults.next("commit", status(503))
    with pytest.raises(
        NetworkError, match=f"not reached for {NAME}: at last it answered 503. Nothing is lost"
    ):
        door.commit(NAME, {"a": b"1"}, "more", patience=0)
    assert dataset.requests.count("commit") == 1


def test_a_request_has_an_end(dataset: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.utils import close_session

    monkeypatch.setattr(door, "TRY_SECONDS", 0.5)
    close_session()
    dataset.faults.next("commit", Fault(delay=1.5))
    assert door.commit(NAME, {"a": b"1"}, "more")
    assert dataset.requests.count("commit") >= 2
    close_session()


def test_a_commit_on_another_head_changes_nothing_and_says_so(dataset: Hub) -> None:
    old = door.head(NAME)
    assert old and door.commit(NAME, {"a": b"1"}, "more", parent=old.commit)
    assert door.commit(NAME, {"b": b"2"}, "more", parent=old.commit) == ""
    assert commits(dataset) == 2


def test_a_token_that_may_not_write_is_told_so_at_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, quick_pauses: list[float]
) -> None:
    door.create_private(NAME)
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    with pytest.raises(NetworkError, match="may not write"):
        door.commit(NAME, {"a": b"1"}, "more")
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    with pytest.raises(NetworkError, match="may read and write"):
        door.commit(NAME, {"a": b"1"}, "more")
    assert not quick_pauses


def test_without_a_network_the_sentence_comes_when_patience_ends(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NetworkError, match="it gave no answer"):
        door.head(NAME, patience=0)


def test_a_page_in_place_of_an_answer_is_no_answer(
    dataset: Hub, monkeypatch: pytest.MonkeyPatch, quick_pauses: list[float]
) -> None:
    portal = Answer(200, b"<html>Please log in to this network.</html>", {"Content-Type": "text/html"})
    monkeypatch.setattr(dataset, "answer", lambda request: (portal, Fault()))
    with pytest.raises(NetworkError, match="it gave no answer"):
        door.commit(NAME, {"a": b"1"}, "more", patience=1)


def test_offline_mode_and_impossible_names_are_said_at_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NetworkError, match="Wanted: owner/name"):
        door.head("three/part/name")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE is set"):
        door.head(NAME)


def test_a_space_may_write_its_datasets_and_nothing_else(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.tokens["hf_space"] = Token("space", (NAME,))
    door.create_private(NAME)
    door.create_private("somebody/other")
    monkeypatch.setenv("HF_TOKEN", "hf_space")
    door.create_private(NAME)
    assert door.commit(NAME, {"a": b"1"}, "more")
    with pytest.raises(NetworkError, match="may not write somebody/other"):
        door.commit("somebody/other", {"a": b"1"}, "more")
