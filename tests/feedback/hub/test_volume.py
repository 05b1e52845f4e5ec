"""A mounted volume: what is sealed lies on it until the Hub has it, and a lost disk loses none of it.

Command: .venv/bin/python -m pytest tests/feedback/hub/test_volume.py
Promise: what a lost disk had sealed is on the Hub once, under the names that it had, and in the new outbox.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from backtalk.cli import main
from backtalk.files import canonical_json
from backtalk.home import home
from feedback.hub import volume
from feedback.hub.dataset import FLAGS
from feedback.hub.segment import Segments
from feedback.hub.sync import Sync, status
from feedback.hub.volume import Keeper
from feedback.schema import Consent, FlagEvent
from feedback.schema import to_row as event_row
from feedback.store.decisions import Decisions, Review, matter_of, to_row
from feedback.store.outbox import Outbox
from tests.feedback.events import OPEN, flag
from tests.feedback.machines import NAMES, Machine
from tests.hub.faults import cut
from tests.hub.server import Hub
from tests.hub.store import Refused

pytest_plugins = ["tests.hub.local"]
pytestmark = pytest.mark.usefixtures("quick_pauses")


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("BACKTALK_VOLUME", str(tmp_path / "data"))
    return tmp_path / "data"


def save(outbox: Outbox, who: str = "ann", **said: object) -> FlagEvent:
    return outbox.save(replace(flag(who, **said), revision=0)).event  # type: ignore[arg-type]


def decide(outbox: Outbox, event: FlagEvent) -> Review:
    draft = Review(flag_id=event.flag_id, state="accepted", by="ada", matter=matter_of(event))
    (review,) = Decisions(outbox.path.with_name("reviews.jsonl")).decide(draft)
    return review


def line(row: FlagEvent | Review) -> bytes:
    return canonical_json(event_row(row) if isinstance(row, FlagEvent) else to_row(row))


def on_volume(mount: Path) -> list[bytes]:
    return sorted(row for path in mount.rglob("*.jsonl") for row in path.read_bytes().splitlines())


def on_hub(hub: Hub) -> list[bytes]:
    """Every row of both datasets, as often as it is there."""
    found = []
    for name in NAMES.values():
        with suppress(Refused):  # nothing was ever sent there
            repo = hub.store.repo("dataset", name)
            head = repo.commit("main")
            data = [path for path in head.tree if path.startswith("data/")]
            found += [row for path in data for row in repo.read(head, path).splitlines()]
    return sorted(found)


def test_what_may_leave_lies_on_the_volume_and_what_may_not_does_not(machine: Machine, mount: Path) -> None:
    space = machine("space")
    event = save(space)
    save(space, "bob", consent=Consent())
    review = decide(space, event)
    Keeper(space, mount).look()
    assert on_volume(mount) == sorted([line(event), line(review)])


def test_a_lost_disk_loses_nothing_and_doubles_nothing(machine: Machine, mount: Path, datasets: Hub) -> None:
    lost = machine("lost")
    plain, unsafe = save(lost), save(lost, "bob", reasons=("self_harm",))
    review = decide(lost, plain)
    Keeper(lost, mount).look()
    fresh = machine("fresh")
    keeper = Keeper(fresh, mount)
    keeper.look()
    keeper.look()
    assert sorted(map(line, fresh.events())) == sorted([line(plain), line(unsafe)])
    Sync(fresh).flush()
    Sync(fresh).flush()
    assert on_hub(datasets) == sorted([line(plain), line(unsafe), line(review)])
    keeper.look()
    assert on_volume(mount) == []
    assert status(fresh).course.confirmed == 2 and not status(fresh).waits


def test_what_had_reached_the_hub_before_the_disk_was_lost_is_there_once(
    machine: Machine, mount: Path, datasets: Hub
) -> None:
    lost = machine("lost")
    event = save(lost)
    review = decide(lost, event)
    Keeper(lost, mount).look()
    datasets.faults.next("commit", cut(after=True))
    Sync(lost).flush(patience=0)  # it arrived, and nobody heard of it
    fresh = machine("fresh")
    Keeper(fresh, mount).look()
    Sync(fresh).flush()
    assert on_hub(datasets) == sorted([line(event), line(review)])


def test_a_withdrawal_after_a_lost_disk_goes_where_its_flag_went(
    machine: Machine, mount: Path, datasets: Hub
) -> None:
    lost = machine("lost")
    event = save(lost)
    Keeper(lost, mount).look()
    fresh = machine("fresh")
    Keeper(fresh, mount).look()
    gone = save(fresh, last=event, retract=True)
    Sync(fresh).flush()
    assert on_hub(datasets) == sorted([line(event), line(gone)])


def test_two_events_at_one_place_of_a_flag_are_both_sent(
    machine: Machine, mount: Path, datasets: Hub
) -> None:
    lost, fresh = machine("lost"), machine("fresh")
    first, beside = save(lost), save(lost, "bob")
    second = save(fresh, comment="said again on another machine")
    assert (first.flag_id, first.revision) == (second.flag_id, second.revision)
    Keeper(lost, mount).look()
    Keeper(fresh, mount).look()
    Sync(fresh).flush()
    assert on_hub(datasets) == sorted(map(line, [first, beside, second]))


def test_a_file_without_its_end_is_left_and_told(machine: Machine, mount: Path, datasets: Hub) -> None:
    lost = machine("lost")
    save(lost)
    Keeper(lost, mount).look()
    [path] = mount.rglob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-100])
    fresh = machine("fresh")
    keeper = Keeper(fresh, mount)
    keeper.look()
    assert path.exists() and not list(fresh.events())
    assert len(keeper.notices) == 1 and path.name in keeper.notices[0]


def test_an_older_copy_of_the_outbox_does_not_seal_again_what_was_sealed(
    machine: Machine, mount: Path, datasets: Hub
) -> None:
    lost, copy = machine("lost"), machine("copy")
    event = save(lost)
    copy.save(replace(event, revision=0))
    Keeper(lost, mount).look()
    Keeper(copy, mount).look()
    Sync(copy).flush()
    assert on_hub(datasets) == [line(event)]


def test_a_volume_that_is_not_mounted_is_told_until_it_is(machine: Machine, mount: Path) -> None:
    space = machine("space")
    event = save(space)
    mount.rmdir()
    keeper = Keeper(space, mount)
    keeper.look()
    assert "takes nothing (it is not mounted). Check its mount." in status(space).sentence
    mount.mkdir()
    keeper.look()
    assert on_volume(mount) == [line(event)]
    assert "volume" not in status(space).sentence


def test_a_hub_that_hangs_does_not_delay_the_volume(
    machine: Machine, mount: Path, datasets: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = machine("space")
    Hanging.release.clear()
    monkeypatch.setattr("feedback.hub.sync.hub.head", Hanging.head)
    sync = Sync(space, look_seconds=0.01).start()
    try:
        first = save(space)
        wait_until(lambda: Hanging.entered.is_set())
        second = save(space, "bob")
        wait_until(lambda: on_volume(mount) == sorted([line(first), line(second)]))
    finally:
        Hanging.release.set()
        monkeypatch.undo()
        sync.stop(seconds=60)


def test_a_purge_takes_the_flag_off_the_volume(machine: Machine, mount: Path) -> None:
    space = machine("space")
    gone, kept = save(space), save(space, "bob")
    review = decide(space, gone)
    Keeper(space, mount).look()
    assert line(review) in on_volume(mount)
    assert volume.forget(gone.flag_id) == 2
    assert on_volume(mount) == [line(kept)]


def test_the_verb_sends_what_a_lost_disk_left(
    machine: Machine, mount: Path, datasets: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = machine("lost")
    event = save(lost)
    Keeper(lost, mount).look()
    home().mkdir(exist_ok=True)
    assert main(["flags", "sync", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["confirmed"] == 1
    assert on_hub(datasets) == [line(event)] and on_volume(mount) == []


def test_a_segment_is_taken_once(machine: Machine) -> None:
    lost, fresh = machine("lost"), machine("fresh")
    save(lost, consent=OPEN)
    Segments(lost).seal()
    [segment] = Segments(lost).unconfirmed(FLAGS)
    taken = [Segments(fresh).take(FLAGS, segment.name, segment.content) for _ in range(2)]
    assert taken == [1, 0]
    assert Segments(fresh).unconfirmed(FLAGS) == [segment]


class Hanging:
    """A Hub that answers nothing until it is released."""

    entered, release = Event(), Event()

    @classmethod
    def head(cls, *_: object) -> None:
        cls.entered.set()
        cls.release.wait(60)


def wait_until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.02)
