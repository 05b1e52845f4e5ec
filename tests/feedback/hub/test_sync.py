"""Flags reach the Hub once each, whatever goes wrong; and where they cannot, they wait and say why."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from backtalk import hub as door
from backtalk.files import canonical_json
from feedback.hub.dataset import FLAGS, SAFETY, readme
from feedback.hub.pace import INTERVALS, MOST_COMMITS, Pace
from feedback.hub.segment import Segments
from feedback.hub.sync import Sync, status, turn
from feedback.schema import Consent, FlagEvent, to_row
from feedback.store.outbox import Outbox
from feedback.store.saving import Choice, FlaggedMessage, save_flag
from tests.feedback.machines import NAMES
from tests.hub.elsewhere import python
from tests.hub.faults import EVERY_KIND, cut
from tests.hub.faults import status as answering
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]
pytestmark = pytest.mark.usefixtures("quick_pauses")

YES = Consent("v1", "flag+thread", True, "", "2026-11-20T10:00:01.000Z")
LONG = timedelta(days=1)

Save = Callable[..., FlagEvent]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def save(outbox: Outbox, message: FlaggedMessage) -> Save:
    """save(message_id, reasons=...) flags one answer with consent."""

    def save(message_id: str = "m4", **chosen: object) -> FlagEvent:
        choice = Choice(**{"verdict": "bad", "consent": YES, **chosen})
        return save_flag(outbox, replace(message, message_id=message_id), choice).event

    return save


def rows(hub: Hub, dataset: str = FLAGS) -> list[bytes]:
    """The lines of all data files at the head."""
    repo = hub.store.repo("dataset", NAMES[dataset])
    head = repo.commit("main")
    data = sorted(path for path in head.tree if path.startswith("data/"))
    return [line for path in data for line in repo.read(head, path).splitlines()]


def line(event: FlagEvent) -> bytes:
    return canonical_json(to_row(event))


def test_the_first_flag_makes_a_private_dataset_with_a_card(
    outbox: Outbox, datasets: Hub, save: Save
) -> None:
    event = save()
    Sync(outbox).flush()
    repo = datasets.store.repo("dataset", NAMES[FLAGS])
    head = repo.commit("main")
    assert repo.private
    assert repo.read(head, "README.md") == readme(FLAGS)
    assert rows(datasets) == [line(event)]
    assert Segments(outbox).commit_of(event.event_id) == head.oid
    assert status(outbox).sentence == f"1 event on the Hub, the newest at commit {head.oid[:7]}."
    assert len(list(repo.log(head))) == 2  # one made it, one filled it


@pytest.mark.parametrize("fault", range(len(EVERY_KIND)))
def test_a_flag_is_there_once_whatever_goes_wrong(
    outbox: Outbox, datasets: Hub, save: Save, fault: int
) -> None:
    events = [save("m4"), save("m6")]
    datasets.faults.next("commit", EVERY_KIND[fault](random.Random(fault)))
    sync = Sync(outbox)
    sync.flush()
    sync.flush()
    assert sorted(rows(datasets)) == sorted(line(event) for event in events)
    assert not status(outbox).course.waiting


def test_a_commit_whose_answer_was_lost_before_a_crash_is_found_again(
    outbox: Outbox, datasets: Hub, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    save()
    datasets.faults.next("commit", cut(after=True))
    Sync(outbox).flush(patience=0)
    assert status(outbox).course.waiting == {FLAGS: 1}
    assert "not reached for somebody/flags" in status(outbox).sentence
    Sync(outbox).flush()  # as the next start does
    repo = datasets.store.repo("dataset", NAMES[FLAGS])
    assert len(rows(datasets)) == 1 and len(list(repo.log(repo.commit("main")))) == 2
    assert not status(outbox).course.waiting


def test_safety_flags_go_to_their_own_private_dataset(outbox: Outbox, datasets: Hub, save: Save) -> None:
    plain, unsafe = save("m4"), save("m6", reasons=("self_harm",))
    Sync(outbox).flush()
    assert (rows(datasets, FLAGS), rows(datasets, SAFETY)) == ([line(plain)], [line(unsafe)])
    assert datasets.store.repo("dataset", NAMES[SAFETY]).private


def test_safety_flags_do_not_go_to_a_public_dataset(outbox: Outbox, datasets: Hub, save: Save) -> None:
    datasets.store.create("dataset", NAMES[SAFETY], private=False, author="somebody")
    save(reasons=("self_harm",))
    Sync(outbox).flush()
    assert rows(datasets, SAFETY) == []
    assert "is public, and safety flags go to a private one only" in status(outbox).sentence


def test_a_safety_dataset_that_was_made_public_gets_nothing_more(
    outbox: Outbox, datasets: Hub, save: Save
) -> None:
    first = save("m4", reasons=("self_harm",))
    sync = Sync(outbox)
    sync.flush()
    datasets.store.repo("dataset", NAMES[SAFETY]).about["private"] = False
    save("m6", reasons=("self_harm",))
    sync.flush()
    assert rows(datasets, SAFETY) == [line(first)]


def test_what_is_missing_is_said_and_everything_waits(
    outbox: Outbox, hub: Hub, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    save()
    Sync(outbox).flush()
    assert status(outbox).sentence == (
        "1 event to send. BACKTALK_FLAGS_DATASET is not set: give it the dataset to send to, as owner/name."
    )
    monkeypatch.setenv("BACKTALK_FLAGS_DATASET", NAMES[FLAGS])
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    Sync(outbox).flush()
    assert "HF_TOKEN is not set" in status(outbox).sentence
    assert hub.requests == []


def test_without_a_network_flags_wait_and_go_when_it_is_back(
    outbox: Outbox, datasets: Hub, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = save()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    Sync(outbox).flush(patience=0)
    assert "1 event to send. The Hub was not reached for somebody/flags" in status(outbox).sentence
    monkeypatch.setenv("HF_ENDPOINT", datasets.endpoint)
    Sync(outbox).flush()
    assert rows(datasets) == [line(event)]


def test_a_token_that_may_not_write_is_said(
    outbox: Outbox, datasets: Hub, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.store.create("dataset", NAMES[FLAGS], private=True, author="somebody")
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    save()
    Sync(outbox).flush()
    assert "The token in HF_TOKEN may not write somebody/flags" in status(outbox).sentence


def test_a_late_segment_that_a_shard_took_is_not_added_again(
    outbox: Outbox, datasets: Hub, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    save()
    datasets.faults.next("commit", cut(after=True))
    Sync(outbox).flush(patience=0)
    monkeypatch.setattr("feedback.hub.sync.LATE_AFTER", -LONG)
    [segment] = Segments(outbox).unconfirmed(FLAGS)
    taken = json.dumps({"segments": [segment.name]}).encode()
    door.commit(NAMES[FLAGS], {"compacted/v1/x.json": taken}, "compact", delete=[segment.name])
    Sync(outbox).flush()
    assert rows(datasets) == [] and not status(outbox).course.waiting


def test_a_late_segment_goes_on_top_of_the_head_that_was_looked_at(
    outbox: Outbox, datasets: Hub, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = save()
    monkeypatch.setattr("feedback.hub.sync.LATE_AFTER", -LONG)
    datasets.faults.next("commit", answering(412), cut(after=True))
    Sync(outbox).flush()
    assert rows(datasets) == [line(event)] and not status(outbox).course.waiting


def test_only_one_process_sends_from_an_outbox(outbox: Outbox, datasets: Hub, save: Save) -> None:
    save()
    with turn(outbox.path):
        Sync(outbox).flush()
    assert datasets.requests == []


def test_it_sends_by_itself_and_flushes_at_the_end(outbox: Outbox, datasets: Hub, save: Save) -> None:
    sync = Sync(outbox, look_seconds=0.01).start()
    save("m4")
    wait_until(lambda: not status(outbox).course.waiting)
    last = save("m6")  # within the minute in which no second commit may go
    assert sync.stop(seconds=60)
    assert line(last) in rows(datasets)


def test_it_can_be_stopped_before_it_was_started(outbox: Outbox) -> None:
    assert Sync(outbox).stop()


@pytest.mark.parametrize("ending", ["", "os.kill(os.getpid(), signal.SIGTERM)"], ids=["exit", "sigterm"])
def test_what_was_just_saved_is_flushed_when_the_process_ends(
    outbox: Outbox, datasets: Hub, save: Save, tmp_path: Path, ending: str
) -> None:
    event = save()
    program = f"""
import os, pathlib, signal, sys
from feedback.store.outbox import Outbox
from feedback.hub.sync import Sync
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
Sync(Outbox(pathlib.Path({str(outbox.path)!r})), look_seconds=60).start()
{ending}
"""
    python(datasets, program, tmp_path)
    assert rows(datasets) == [line(event)]


def test_a_defect_does_not_end_the_syncing(
    outbox: Outbox, datasets: Hub, save: Save, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def broken(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr("feedback.hub.sync.Pace.seconds_left", lambda pace, commits: 0)
    monkeypatch.setattr("feedback.hub.segment.Segments.seal", broken)
    sync = Sync(outbox, look_seconds=0.01).start()
    wait_until(lambda: "ZeroDivisionError" in capsys.readouterr().err)
    assert sync.stop(seconds=60) is True


def test_commits_go_at_once_after_a_quiet_time_then_at_growing_intervals() -> None:
    clock = Clock()
    pace = Pace(clock)
    went = []
    while clock.now < 4 * 3600:  # flags keep coming
        if pace.seconds_left(0) <= 0:
            went.append(clock.now)
            pace.went()
        clock.now += 1
    minutes = [round((after - before) / 60) for before, after in zip(went, went[1:], strict=False)]
    assert went[0] == 0 and minutes[:6] == [1, 2, 4, 8, 15, 15] and set(minutes[4:]) == {15}
    clock.now += INTERVALS[-1]
    pace.nothing_waits()
    assert pace.seconds_left(0) <= 0
    pace.went()
    assert pace.seconds_left(0) == INTERVALS[0]


def test_a_short_silence_does_not_bring_back_the_short_intervals() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(3):
        pace.went()
    clock.now += INTERVALS[0]
    pace.nothing_waits()
    assert pace.seconds_left(0) == INTERVALS[2] - INTERVALS[0]


def test_a_day_has_its_most_commits_however_the_flags_come() -> None:
    clock = Clock()
    pace = Pace(clock)
    went: list[float] = []
    while clock.now < 2 * 86_400:
        day = sum(1 for moment in went if moment > clock.now - 86_400)
        if pace.seconds_left(day) <= 0:
            went.append(clock.now)
            pace.went()
        if len(went) % 5 == 0 and clock.now - went[-1] > INTERVALS[-1]:
            pace.nothing_waits()
        clock.now += 30
    busiest = max(sum(1 for moment in went if 0 <= moment - start < 86_400) for start in went)
    assert busiest <= MOST_COMMITS
    assert Pace().seconds_left(MOST_COMMITS) == float("inf")
    assert max(after - before for before, after in zip(went, went[1:], strict=False)) < 3600


def test_load_dataset_returns_each_row_as_it_was_stored(
    outbox: Outbox, datasets: Hub, save: Save, tmp_path: Path
) -> None:
    events = [
        save("m4"),
        save("m6", comment='line one\nline two \u2028 \U0001f600 "quoted" 2024-05-01', preview_shown=True),
        save("m8", correction="It is 45 days.", reasons=("outdated",), severity="critical"),
        save("m9", reasons=("other",), comment="x" * 4000),
    ]
    Sync(outbox).flush()
    events.append(save("m4", verdict="good", reasons=()))
    Sync(outbox).flush()
    program = (
        "import json, datasets\n"
        "for row in datasets.load_dataset('somebody/flags', split='train'): print(json.dumps(row))"
    )
    found = [canonical_json(json.loads(text)) for text in python(datasets, program, tmp_path).splitlines()]
    assert sorted(found) == sorted(line(event) for event in events)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def wait_until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.02)
