"""The outbox: what was acknowledged is there, once; what was not is one sentence; nothing is thrown away."""

import json
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import feedback
from backtalk.errors import OutboxError
from feedback.revisions import fold
from feedback.schema import Contributor
from feedback.store.outbox import Outbox
from feedback.store.saving import Choice, FlaggedMessage, draft, save_flag

ROOT = Path(feedback.__file__).parents[1]


def save(outbox: Outbox, message: FlaggedMessage, number: int = 0) -> str:
    return save_flag(outbox, replace(message, message_id=f"answer-{number}"), Choice("bad")).flag_id


def test_a_flag_is_there_after_a_restart(path: Path, message: FlaggedMessage) -> None:
    with closing(Outbox(path)) as outbox:
        saved = save_flag(outbox, message, Choice("bad", ("outdated",), comment="It is 45 days."))
    with closing(Outbox(path)) as outbox:
        assert outbox.current(saved.flag_id) == saved.event
        assert outbox.notice == ""


def test_a_repeated_event_is_harmless(outbox: Outbox, message: FlaggedMessage) -> None:
    event = draft(message, Choice("bad"))
    first = outbox.save(event)
    outbox.save(draft(message, Choice("good")))
    second = outbox.save(event)
    assert second.repeated and second.event == first.event
    assert [state.verdict for state in outbox.standing()] == ["good"]


def test_a_page_finds_the_flags_of_its_own_visitor_only(outbox: Outbox, message: FlaggedMessage) -> None:
    stranger = replace(message, contributor=Contributor("f" * 32))
    for number in range(3):
        save(outbox, message, number)
    save(outbox, stranger, 3)
    save_flag(outbox, replace(message, message_id="answer-1"), Choice(retract=True))
    wanted = [f"answer-{number}" for number in range(5)]
    assert list(outbox.flags_of(message.contributor.pseudonym, wanted)) == ["answer-0", "answer-2"]
    assert list(outbox.flags_of(stranger.contributor.pseudonym, wanted)) == ["answer-3"]


def test_the_outbox_agrees_with_the_fold_of_its_events(outbox: Outbox, message: FlaggedMessage) -> None:
    for number in range(6):
        save(outbox, message, number)
    for number in range(0, 6, 2):
        save_flag(outbox, replace(message, message_id=f"answer-{number}"), Choice("good"))
    save_flag(outbox, replace(message, message_id="answer-5"), Choice(retract=True))
    standing = list(outbox.standing())
    assert {event.flag_id: event for event in standing} == fold(outbox.events())
    assert [event.message_id for event in standing] == [f"answer-{n}" for n in (4, 2, 0, 3, 1)]
    counts = outbox.counts()
    assert (counts.events, counts.flags, counts.standing, counts.unsealed) == (10, 6, 5, 10)


def test_flags_are_found_by_the_beginning_of_their_id(outbox: Outbox, message: FlaggedMessage) -> None:
    ids = sorted(save(outbox, message, number) for number in range(5))
    assert outbox.find(ids[2][:12]) == [ids[2]]
    assert outbox.find(ids[2].upper()) == [ids[2]]
    assert outbox.find("") == ids
    assert outbox.find("%") == outbox.find("zz") == outbox.find("' OR 1=1") == []


def test_an_event_cannot_be_changed_afterwards(path: Path, outbox: Outbox, message: FlaggedMessage) -> None:
    save(outbox, message)
    with (
        closing(sqlite3.connect(path)) as other,
        pytest.raises(sqlite3.IntegrityError, match="only ever added"),
    ):
        other.execute("UPDATE events SET row = '{}'")


def test_eight_threads_lose_and_double_nothing(outbox: Outbox, message: FlaggedMessage) -> None:
    with ThreadPoolExecutor(8) as threads:
        saved = list(threads.map(lambda number: save(outbox, message, number % 40), range(120)))
    assert sorted(event.flag_id for event in outbox.standing()) == sorted(set(saved))
    assert outbox.counts().events == 40


def test_votes_of_many_threads_on_one_answer_are_numbered_without_gaps(
    outbox: Outbox, message: FlaggedMessage
) -> None:
    with ThreadPoolExecutor(8) as threads:
        receipts = list(
            threads.map(lambda n: save_flag(outbox, message, Choice("bad", comment=f"take {n}")), range(24))
        )
    assert sorted(receipt.revision for receipt in receipts) == list(range(1, 25))
    assert len(outbox.history(receipts[0].flag_id)) == 24
    assert outbox.counts().standing == 1


WRITER = """
import sys
from pathlib import Path
from feedback.store.outbox import Outbox
from feedback.revisions import fold
from feedback.schema import FlagEvent, from_row
outbox = Outbox(Path(sys.argv[1]))
for line in sys.stdin:
    print(outbox.save(from_row(line)).event.event_id, flush=True)
"""


def test_three_processes_open_and_write_one_outbox_at_once(path: Path, message: FlaggedMessage) -> None:
    lines = _lines(path.with_name("source.sqlite"), message, 30)
    writers = [_process(WRITER, path) for _ in range(3)]
    for number, writer in enumerate(writers):
        assert writer.stdin
        writer.stdin.write("".join(lines[number::3] + lines[:5]))  # and all of them bring five of the same
        writer.stdin.close()
    acknowledged = set()
    for writer in writers:
        assert writer.stdout
        acknowledged |= {line.strip() for line in writer.stdout}
        assert writer.wait() == 0
    with closing(Outbox(path)) as outbox:
        events = [event.event_id for event in outbox.events()]
    assert sorted(events) == sorted(acknowledged) and len(events) == 30


def test_twenty_kills_lose_and_double_nothing() -> None:
    bench = subprocess.run(
        [sys.executable, "bench/kill.py", "--quick"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert bench.returncode == 0, bench.stdout + bench.stderr
    report = json.loads(bench.stdout.splitlines()[-1])
    assert report["bench"] == "kill" and all(bound["holds"] for bound in report["bounds"])


def test_a_full_disk_is_one_sentence_and_nothing_half_written(path: Path, message: FlaggedMessage) -> None:
    """A limit on the size of files stands in for the disk: the writer's system calls really fail."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n"
    writer = _process(limit + WRITER, path)
    out, err = writer.communicate("".join(_lines(path.with_name("source.sqlite"), message, 60)))
    assert writer.returncode == 1 and "OutboxError: The outbox" in err.splitlines()[-1]
    with closing(Outbox(path)) as outbox:
        kept = [event.event_id for event in outbox.events()]
        assert outbox.notice == "" and kept[: len(out.split())] == out.split() != []
        save(outbox, message, 99)


def test_a_database_at_its_limit_says_that_the_disk_is_full(path: Path, message: FlaggedMessage) -> None:
    with closing(Outbox(path)) as outbox:
        save(outbox, message)
        outbox._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(OutboxError, match="the disk is full"):
            for number in range(1, 9):
                save(outbox, message, number)
        counts = outbox.counts()
        assert counts.events == counts.standing >= 1


def test_a_locked_outbox_is_one_sentence_and_works_again(path: Path, message: FlaggedMessage) -> None:
    with closing(Outbox(path, wait=0.05)) as outbox:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OutboxError, match="another process"):
                save(outbox, message)
            other.execute("ROLLBACK")
        save(outbox, message)
        assert outbox.counts().events == 1


def test_a_reader_does_not_wait_for_a_writer(path: Path, outbox: Outbox, message: FlaggedMessage) -> None:
    flag = save(outbox, message)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert outbox.current(flag) is not None


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_text("my notes, not a database\n" * 100)
    with pytest.raises(OutboxError, match="is not a database"):
        Outbox(path)
    assert path.read_text().startswith("my notes")


@pytest.mark.parametrize("place", ["a-file/outbox.sqlite", "/proc/outbox.sqlite"])
def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises(OutboxError, match="Check its folder"):
        Outbox(tmp_path / place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_outbox_is_one_sentence(path: Path, message: FlaggedMessage) -> None:
    Outbox(path).close()
    path.chmod(0o400)
    with pytest.raises(OutboxError), closing(Outbox(path)) as outbox:
        save(outbox, message)


def test_an_outbox_of_a_newer_version_is_not_touched(path: Path) -> None:
    Outbox(path).close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("INSERT INTO migrations VALUES ('reviews', '2030-01-01')")
    with pytest.raises(OutboxError, match="newer Backtalk .reviews."):
        Outbox(path)


@pytest.mark.parametrize("place", ["schema", "middle", "end"])
def test_a_damaged_outbox_is_moved_aside_and_what_can_be_read_is_carried_over(
    path: Path, message: FlaggedMessage, place: str
) -> None:
    with closing(Outbox(path)) as outbox:
        ids = [save(outbox, message, number) for number in range(40)]
        save_flag(outbox, replace(message, message_id="answer-0"), Choice("good"))
    _damage(path, place)
    with closing(Outbox(path)) as outbox:
        assert "was damaged" in outbox.notice
        standing = {event.flag_id for event in outbox.standing()}
        assert standing <= set(ids) and len(standing) >= (0 if place == "schema" else 20)
        save(outbox, message, 99)
    assert [aside.stat().st_size > 0 for aside in path.parent.glob("outbox.sqlite.aside-*")] == [True]
    with closing(Outbox(path)) as outbox:
        assert outbox.notice == "" and len(list(outbox.standing())) == len(standing) + 1


@pytest.mark.parametrize("act", ["deleted", "moved"])
def test_a_flag_saved_after_the_file_went_away_is_not_lost(
    path: Path, outbox: Outbox, message: FlaggedMessage, act: str
) -> None:
    """SQLite would go on writing to a file that nobody can find any more, and say that all is well."""
    before = save(outbox, message)
    elsewhere = path.with_name("elsewhere.sqlite")
    path.unlink() if act == "deleted" else path.rename(elsewhere)
    flag = save(outbox, message, 1)
    with closing(Outbox(path)) as other:
        assert [event.flag_id for event in other.standing()] == [flag]
    if act == "moved":
        with closing(Outbox(elsewhere)) as other:
            assert [event.flag_id for event in other.standing()] == [before]


def test_a_log_that_lost_its_file_is_kept(path: Path, message: FlaggedMessage) -> None:
    """Somebody moved outbox.sqlite alone; what was saved last is still in its log."""
    kept = path.with_name("kept.sqlite")
    with closing(Outbox(path)) as outbox:
        flag = save(outbox, message)
        for suffix in ("", "-wal"):
            Path(f"{kept}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    Path(f"{path}-wal").write_bytes(Path(f"{kept}-wal").read_bytes())
    path.unlink()
    Outbox(path).close()
    (log,) = path.parent.glob("outbox.sqlite.aside-*-wal")
    log.rename(f"{kept}-wal")
    with closing(Outbox(kept)) as outbox:
        assert [event.flag_id for event in outbox.standing()] == [flag]


def test_a_file_replaced_during_a_save_gets_the_flag_too(
    path: Path, outbox: Outbox, message: FlaggedMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = outbox._store

    def store_and_move(*words: object) -> object:
        receipt = store(*words)  # type: ignore[arg-type]
        monkeypatch.setattr(outbox, "_store", store)
        path.rename(path.with_name("elsewhere.sqlite"))
        return receipt

    monkeypatch.setattr(outbox, "_store", store_and_move)
    flag = save(outbox, message)
    with closing(Outbox(path)) as other:
        assert [event.flag_id for event in other.standing()] == [flag]


def test_on_a_space_saved_is_called_received(
    outbox: Outbox, message: FlaggedMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", "owner/space")
    assert save_flag(outbox, message, Choice("bad")).sentence == "Received."


def _damage(path: Path, place: str) -> None:
    """What a failing disk does: part of the schema, a page in the middle, or the last pages are gone."""
    size = path.stat().st_size
    with open(path, "r+b") as file:
        if place == "end":
            file.truncate(size // 4096 * 3 // 4 * 4096)
            return
        file.seek(200 if place == "schema" else size // 2 // 4096 * 4096)
        file.write(b"\xff" * 3800)


def _lines(path: Path, message: FlaggedMessage, count: int) -> list[str]:
    """The rows of valid events, as another outbox wrote them."""
    with closing(Outbox(path)) as outbox:
        for number in range(count):
            save(outbox, message, number)
    with closing(sqlite3.connect(path)) as source:
        return [f"{row}\n" for (row,) in source.execute("SELECT row FROM events ORDER BY seq")]


def _process(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
