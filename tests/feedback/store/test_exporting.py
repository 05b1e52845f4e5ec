"""What is written out is what a segment would hold, and only what may leave."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from backtalk.errors import BacktalkError
from backtalk.files import canonical_json
from feedback.schema import Consent, to_row
from feedback.store import exporting
from feedback.store.outbox import NAME, Outbox
from tests.feedback.events import flag


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKTALK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_events_with_consent_are_written_as_they_are(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Outbox(state / NAME)) as outbox:
        allowed = [outbox.save(flag(who)).event for who in ("ann", "bob")]
        silent = outbox.save(flag("cleo", consent=Consent())).event
    file = tmp_path / "flags.jsonl"
    assert exporting.main([str(file), "--json"]) == 0
    assert file.read_bytes().splitlines() == [canonical_json(to_row(event)) for event in allowed]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["written"] == 2
    assert exporting.main([str(file), "--without-consent"]) == 0
    assert canonical_json(to_row(silent)) in file.read_bytes().splitlines()


def test_without_flags_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BacktalkError, match="no flags to write"):
        exporting.main([str(tmp_path / "flags.jsonl")])
