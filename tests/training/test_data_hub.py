"""A dataset on the Hub is read at a commit, kept for the next time, and named in the card.

Command: pytest tests/training/test_data_hub.py
Promise: the local test Hub, asked by processes of their own; no other network.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from backtalk.home import home
from tests.hub.elsewhere import python
from tests.hub.server import Hub
from tests.training.loading import loaded, questions

REPO = "somebody/chats"
PROGRAM = """
import json, sys
from backtalk.errors import BacktalkError
from tests.training.loading import loaded
for source in json.loads({sources!r}):
    try:
        found = loaded(source)
    except BacktalkError as fault:
        print(json.dumps({{"error": type(fault).__name__, "said": str(fault)}}))
    else:
        print(json.dumps({{"rows": list(found.train), "inputs": found.inputs}}))
"""
pytest_plugins = ["tests.hub.local"]


@pytest.fixture
def commit(hub: Hub) -> str:
    """A dataset with two splits."""
    api = HfApi(endpoint=hub.endpoint, token="hf_write")
    api.create_repo(REPO, repo_type="dataset", private=True)
    lines = [json.dumps(row).encode() + b"\n" for row in questions(30)]
    files = {"train.jsonl": b"".join(lines[:20]), "test.jsonl": b"".join(lines[20:])}
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(REPO, operations, commit_message="Chats", repo_type="dataset").oid


def load(hub: Hub, folder: Path, *sources: dict[str, Any]) -> list[dict[str, Any]]:
    """What each source gives; one process, since the client reads its address once."""
    program = PROGRAM.format(sources=json.dumps([{"repo": REPO, **source} for source in sources]))
    return [json.loads(line) for line in python(hub, program, folder, PYTHONPATH=".").splitlines()]


def test_a_split_is_read_at_a_commit_that_the_card_names_and_kept(
    hub: Hub, commit: str, tmp_path: Path
) -> None:
    test = {"split": "test"}
    streamed, whole = load(hub, tmp_path, {**test, "streaming": True, "limit": 10}, test)
    [entry] = whole["inputs"]
    assert (entry["repo"], entry["revision"], entry["split"], entry["rows"]) == (REPO, commit, "test", 10)
    assert {row["prompt"][0]["content"] for row in whole["rows"]} == {
        row["prompt"] for row in questions(30)[20:]
    }
    assert (streamed["rows"], streamed["inputs"]) == (whole["rows"], whole["inputs"])
    [kept] = (home() / "datasets").rglob("*.jsonl")
    assert commit in kept.name
    assert len(kept.read_bytes().splitlines()) == 10
    asked = len(hub.requests)
    assert loaded({"repo": REPO, "revision": commit, "split": "test"}).inputs == whole["inputs"]
    assert len(hub.requests) == asked


def test_what_the_hub_does_not_have_is_one_sentence(hub: Hub, commit: str, tmp_path: Path) -> None:
    split, repo = load(hub, tmp_path, {"split": "tset"}, {"repo": "nobody/nothing"})
    assert split["error"] == "BacktalkError"
    assert "The split 'tset' of somebody/chats" in split["said"]
    assert repo["error"] == "NetworkError"
    assert "nobody/nothing" in repo["said"]
