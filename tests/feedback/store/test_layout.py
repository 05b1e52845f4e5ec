"""An outbox of the former layout: opened, brought up to date, nothing lost; and what its index is asked.

Command: pytest tests/feedback/store/test_layout.py
Promise: every row of an earlier Backtalk is there byte for byte, and what was unsealed goes the same way.
"""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from feedback.hub.segment import SEALABLE, Segments
from feedback.schema import Consent
from feedback.store import outbox as outbox_module
from feedback.store.layout import MIGRATIONS
from feedback.store.outbox import Outbox
from feedback.store.saving import Choice, FlaggedMessage, save_flag

FORMER = {name: MIGRATIONS[name] for name in ("events", "segments")}
CONSENT = Consent("v1", "flag_only", True, "", "2026-11-20T10:00:00.000Z")


@pytest.fixture
def former(path: Path, message: FlaggedMessage, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An outbox as it was: one flag sealed, one withdrawn since, one to seal, one without consent."""
    with monkeypatch.context() as before:
        before.setattr(outbox_module, "MIGRATIONS", FORMER)
        with closing(Outbox(path)) as outbox:
            for number in range(2):
                save_flag(outbox, _message(message, number), Choice("bad", consent=CONSENT))
            assert Segments(outbox).seal() == 2
            save_flag(outbox, _message(message, 1), Choice(retract=True))
            save_flag(outbox, _message(message, 2), Choice("good", consent=CONSENT))
            save_flag(outbox, _message(message, 3), Choice("bad"))
    return path


def test_the_former_layout_is_opened_without_losing_a_row(former: Path, message: FlaggedMessage) -> None:
    before = _everything(former)
    with closing(Outbox(former)) as outbox:
        assert outbox.notice == "" and _everything(former) == before and len(before["events"]) == 5
        counts = outbox.counts()
        assert (counts.events, counts.flags, counts.standing, counts.unsealed) == (5, 4, 3, 3)
        assert Segments(outbox).course().without_consent == 1
        assert Segments(outbox).seal() == 2  # the withdrawal and the flag that consent covers
        save_flag(outbox, _message(message, 4), Choice("bad"))
        assert [event.revision for event in outbox.history(_flag(before, 2))] == [1, 2]
    with closing(Outbox(former)) as outbox:
        assert outbox.notice == "" and outbox.counts().events == 6


def test_a_former_outbox_has_the_indexes_of_a_new_one(former: Path, path: Path) -> None:
    Outbox(former).close()
    fresh = path.with_name("fresh.sqlite")
    Outbox(fresh).close()
    assert _schema(former) == _schema(fresh)


def test_a_migration_cut_off_half_way_leaves_the_former_layout(
    former: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema, rows = _schema(former), _everything(former)
    steps = (*list(MIGRATIONS.values())[-1][:2], "SELECT no_such_function()")
    with monkeypatch.context() as broken:
        broken.setattr(outbox_module, "MIGRATIONS", {**MIGRATIONS, list(MIGRATIONS)[-1]: steps})
        with pytest.raises(outbox_module.OutboxError):
            Outbox(former)
    assert (_schema(former), _everything(former)) == (schema, rows)
    with closing(Outbox(former)) as outbox:
        assert outbox.counts().events == len(rows["events"])


@pytest.mark.parametrize("wanted", [SEALABLE, "segment = ''"])
def test_what_waits_is_found_by_index(path: Path, wanted: str) -> None:
    """Rows without consent wait for ever and are looked past every two seconds: no scan may be in that."""
    Outbox(path).close()
    with closing(sqlite3.connect(path)) as file:
        [plan] = file.execute(f"EXPLAIN QUERY PLAN SELECT count(*) FROM events WHERE {wanted}")
    by = "segment=? AND <expr>=?" if wanted == SEALABLE else "segment=?"
    assert plan[-1].startswith("SEARCH") and plan[-1].endswith(f"INDEX unsealed ({by})")


def _message(message: FlaggedMessage, number: int) -> FlaggedMessage:
    return replace(message, message_id=f"answer-{number}")


def _everything(path: Path) -> dict[str, list[tuple]]:
    with closing(sqlite3.connect(path)) as file:
        return {
            table: file.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            for table in ("events", "segments", "placed")
        } | {"replica": file.execute("SELECT name FROM replica").fetchall()}


def _schema(path: Path) -> list[tuple]:
    with closing(sqlite3.connect(path)) as file:
        return file.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()


def _flag(everything: dict[str, list[tuple]], seq: int) -> str:
    return next(row[1] for row in everything["events"] if row[0] == seq)
