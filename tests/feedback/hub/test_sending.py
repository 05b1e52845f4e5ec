"""`backtalk flags sync`: what was sent, what waits and why."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from backtalk.cli import main
from feedback.hub.sync import turn
from feedback.schema import Consent
from feedback.store.outbox import NAME, Outbox
from feedback.store.saving import Choice, FlaggedMessage, save_flag
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]

YES = Consent("v1", "flag+thread", True, "", "2026-11-20T10:00:01.000Z")
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def flagged(state_folder: Path, message: FlaggedMessage, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A flag with consent in the state folder, and the name of a dataset that does not exist yet."""
    monkeypatch.setenv("BACKTALK_FLAGS_DATASET", "somebody/flags")
    with closing(Outbox(state_folder / NAME)) as outbox:
        save_flag(outbox, message, Choice(verdict="bad", consent=YES))
    return state_folder / NAME


def test_it_says_what_is_on_the_hub(flagged: Path, hub: Hub, capsys: Captured) -> None:
    assert main(["flags", "sync", "--json"]) == 0
    *sentence, last = capsys.readouterr().out.splitlines()
    head = hub.store.repo("dataset", "somebody/flags").commit("main").oid
    assert sentence[0] == f"1 event on the Hub, the newest at commit {head[:7]}."
    said = json.loads(last)
    assert (said["confirmed"], said["commit"], said["compacted"]) == (1, head, [])


def test_it_compacts_on_demand(flagged: Path, capsys: Captured) -> None:
    assert main(["flags", "sync", "--compact"]) == 0
    assert "Nothing to compact: no segment is older than a day" in capsys.readouterr().out


def test_what_waits_is_an_error_with_its_reason(
    flagged: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BACKTALK_FLAGS_DATASET")
    assert main(["flags", "sync"]) == 1
    assert "1 event to send. BACKTALK_FLAGS_DATASET is not set" in capsys.readouterr().err


def test_where_the_app_is_sending_it_says_so(flagged: Path, hub: Hub, capsys: Captured) -> None:
    with turn(flagged):
        assert main(["flags", "sync"]) == 0
    assert "Another process of this machine is sending already." in capsys.readouterr().out
    assert hub.requests == []
