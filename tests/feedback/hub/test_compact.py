"""Compaction: the same events in fewer files, each once at any moment, withdrawn flags gone."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backtalk import hub as door
from backtalk.errors import NetworkError
from backtalk.files import canonical_json
from feedback.hub.compact import SHARDS, compact
from feedback.hub.dataset import FLAGS, TAKEN
from feedback.hub.segment import Segments
from feedback.hub.sync import Sync, status
from feedback.schema import Consent, FlagEvent, to_row
from feedback.store.outbox import Outbox
from feedback.store.saving import Choice, FlaggedMessage, save_flag
from tests.hub.elsewhere import python
from tests.hub.faults import cut
from tests.hub.faults import status as answering
from tests.hub.server import Hub
from tests.hub.store import Commit

pytest_plugins = ["tests.hub.local"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # the client's own
    pytest.mark.usefixtures("quick_pauses"),
]

NAME = "somebody/flags"
YES = Consent("v1", "flag+thread", True, "", "2026-11-20T10:00:01.000Z")
TOMORROW = datetime.now(UTC) + timedelta(days=2)

Save = Callable[..., FlagEvent]


@pytest.fixture
def send(outbox: Outbox, message: FlaggedMessage, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Save:
    """send(message_id, ...) flags an answer and puts it on the Hub, in a segment of its own."""
    monkeypatch.setenv("BACKTALK_FLAGS_DATASET", NAME)

    def send(message_id: str, patience: float = door.PATIENCE_SECONDS, **chosen: object) -> FlagEvent:
        choice = Choice(**{"verdict": "bad", "consent": YES, **chosen})
        event = save_flag(outbox, replace(message, message_id=message_id), choice).event
        Sync(outbox).flush(patience)
        return event

    return send


def files(hub: Hub, commit: Commit | None = None) -> dict[str, bytes]:
    repo = hub.store.repo("dataset", NAME)
    commit = commit or repo.commit("main")
    return {path: repo.read(commit, path) for path in commit.tree if path.startswith(("data/", TAKEN))}


def rows(hub: Hub, commit: Commit | None = None) -> list[bytes]:
    found = files(hub, commit)
    contents = [
        gzip.decompress(content) if path.endswith(".gz") else content
        for path, content in found.items()
        if path.startswith("data/")
    ]
    return sorted(line for content in contents for line in content.splitlines())


def lines(*events: FlagEvent) -> list[bytes]:
    return sorted(canonical_json(to_row(event)) for event in events)


def test_segments_older_than_a_day_become_one_shard_that_lists_them(hub: Hub, send: Save) -> None:
    events = [send(name) for name in ("m4", "m6", "m8")]
    names = sorted(files(hub))
    assert compact(FLAGS).segments == 0 and sorted(files(hub)) == names
    done = compact(FLAGS, TOMORROW)
    assert (done.segments, done.shards, done.rows, done.dropped) == (3, 1, 3, 0)
    [note], [shard] = ([path for path in files(hub) if path.startswith(folder)] for folder in (TAKEN, SHARDS))
    assert json.loads(files(hub)[note]) == {"segments": names}
    assert Path(note).stem == Path(shard).name.removesuffix(".jsonl.gz")
    assert rows(hub) == lines(*events)
    assert compact(FLAGS, TOMORROW).sentence.startswith("Nothing to compact")


def test_the_same_segments_give_the_same_bytes(hub: Hub, send: Save) -> None:
    for name in ("m4", "m6"):
        send(name)
    repo = hub.store.repo("dataset", NAME)
    before = repo.commit("main")
    compact(FLAGS, TOMORROW)
    once = files(hub)
    repo.point("refs/heads/main", before.oid)
    compact(FLAGS, TOMORROW)
    assert files(hub) == once


def test_the_shards_are_the_sorted_rows_in_parts_named_by_their_content(
    hub: Hub, send: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is streamed has the bytes that sorting and packing all rows in memory gives."""
    monkeypatch.setattr("feedback.hub.compact.MOST_ROWS", 2)
    for name in ("m4", "m6", "m8"):
        send(name)
    segments, expected = sorted(files(hub)), sorted(rows(hub), key=lambda row: json.loads(row)["event_id"])
    stamp = max(Path(segment).name.partition("-")[0] for segment in segments)
    note = canonical_json({"segments": segments})
    compact(FLAGS, TOMORROW)
    whole = {}
    for part in (expected[:2], expected[2:]):
        content = b"".join(row + b"\n" for row in part)
        stem = f"{stamp}-{hashlib.sha256(content + note).hexdigest()[:12]}"
        whole[f"{TAKEN}/{stem}.json"] = note
        whole[f"{SHARDS}/{stem}.jsonl.gz"] = zlib.compress(content, 9, wbits=31)
    assert files(hub) == whole


def test_a_reader_sees_each_event_once_at_any_moment(hub: Hub, send: Save) -> None:
    for round_ in range(3):
        for number in range(2):
            send(f"m{round_}{number}")
        compact(FLAGS, TOMORROW)
    repo = hub.store.repo("dataset", NAME)
    for commit in repo.log(repo.commit("main")):
        seen = [json.loads(line)["event_id"] for line in rows(hub, commit)]
        assert len(seen) == len(set(seen))
    assert len(rows(hub)) == 6


def test_of_a_withdrawn_flag_only_the_withdrawal_stays(hub: Hub, send: Save) -> None:
    stays = send("m4")
    send("m6", comment="a secret comment", preview_shown=True)
    compact(FLAGS, TOMORROW)
    gone = send("m6", verdict="", retract=True)
    done = compact(FLAGS)  # the withdrawal is younger than a day, the shard is not
    assert (done.segments, done.dropped) == (0, 1)
    assert rows(hub) == lines(stays, gone)
    assert not any(b"a secret comment" in line for line in rows(hub))
    compact(FLAGS, TOMORROW)
    assert rows(hub) == lines(stays, gone)


def test_a_flag_given_again_after_its_withdrawal_stays(hub: Hub, send: Save) -> None:
    events = [send("m4"), send("m4", verdict="", retract=True), send("m4", verdict="good")]
    done = compact(FLAGS, TOMORROW)
    assert rows(hub) == lines(*events) and done.dropped == 0


def test_where_every_event_left_the_list_remembers_the_segments(hub: Hub, send: Save) -> None:
    send("m4")
    [segment] = files(hub)
    gone = send("m4", verdict="", retract=True)
    compact(FLAGS, TOMORROW)
    assert rows(hub) == lines(gone)
    assert segment in json.loads(next(text for path, text in files(hub).items() if TAKEN in path))["segments"]


def test_a_late_retry_of_a_segment_that_was_taken_adds_nothing(
    hub: Hub, outbox: Outbox, send: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    send("m4")
    hub.faults.next("commit", cut(after=True))
    event = send("m6", patience=0)
    assert Segments(outbox).unconfirmed(FLAGS)
    compact(FLAGS, TOMORROW)
    monkeypatch.setattr("feedback.hub.sync.LATE_AFTER", -timedelta(days=1))
    Sync(outbox).flush()
    assert len(rows(hub)) == 2 and lines(event)[0] in rows(hub)
    assert not status(outbox).course.waiting


def test_what_comes_in_between_is_kept(hub: Hub, send: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    first = send("m4")
    second: list[FlagEvent] = []
    plain = door.commit

    def interrupted(*words: object, **more: object) -> str:
        if not second:
            monkeypatch.setattr(door, "commit", plain)
            second.append(send("m6"))
        return plain(*words, **more)

    monkeypatch.setattr(door, "commit", interrupted)
    done = compact(FLAGS, TOMORROW)
    assert rows(hub) == lines(first, *second) and done.rows == 2


@pytest.mark.parametrize("fault", [cut(), cut(after=True), answering(412), answering(503)], ids=str)
def test_a_fault_neither_loses_nor_doubles(hub: Hub, send: Save, fault: object) -> None:
    events = [send(name) for name in ("m4", "m6")]
    hub.faults.next("commit", fault)
    done = compact(FLAGS, TOMORROW)
    assert rows(hub) == lines(*events) and (done.segments, done.rows) == (2, 2)


def test_an_event_that_two_segments_hold_is_kept_once(hub: Hub, send: Save) -> None:
    event = send("m4")
    [(path, content)] = files(hub).items()
    door.commit(NAME, {path.replace("-", "-0", 3): content}, "the same again")
    assert len(rows(hub)) == 2
    compact(FLAGS, TOMORROW)
    assert rows(hub) == lines(event)


def test_load_dataset_reads_segments_and_shards_together(hub: Hub, send: Save, tmp_path: Path) -> None:
    events = [send("m4"), send("m6")]
    compact(FLAGS, TOMORROW)
    events.append(send("m8"))
    program = (
        "import json, datasets\n"
        "for row in datasets.load_dataset('somebody/flags', split='train'): print(json.dumps(row))"
    )
    found = [canonical_json(json.loads(text)) for text in python(hub, program, tmp_path).splitlines()]
    assert sorted(found) == lines(*events)


def test_without_a_dataset_there_is_a_sentence(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NetworkError, match="BACKTALK_FLAGS_DATASET is not set"):
        compact(FLAGS)
    monkeypatch.setenv("BACKTALK_FLAGS_DATASET", NAME)
    with pytest.raises(NetworkError, match="The Hub has no dataset somebody/flags"):
        compact(FLAGS)
