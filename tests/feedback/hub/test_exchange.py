"""Decisions travel between machines: each once, to its own dataset, and they are there after a restart.

Command: .venv/bin/python -m pytest tests/feedback/hub/test_exchange.py
Promise: whatever the Hub does, every machine ends with the same decisions, none lost and none doubled.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backtalk import hub as door
from backtalk.cli import main
from backtalk.home import home
from feedback.hub.dataset import CARD, FLAGS, REVIEWS, SAFETY, readme, with_reviews
from feedback.hub.exchange import Exchange
from feedback.hub.fetch import catch_up
from feedback.hub.sync import Sync, status
from feedback.schema import Consent, FlagEvent
from feedback.store.decisions import Decisions, Review, content_of, matter_of, to_row
from feedback.store.outbox import NAME, Outbox
from tests.feedback.events import OPEN, flag
from tests.feedback.machines import NAMES, Machine
from tests.hub.elsewhere import python
from tests.hub.faults import cut
from tests.hub.faults import status as answering
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]
pytestmark = pytest.mark.usefixtures("quick_pauses")

PATIENCE = 60.0

Captured = pytest.CaptureFixture[str]


def save(
    outbox: Outbox, who: str = "ann", reasons: tuple[str, ...] = (), consent: Consent = OPEN
) -> FlagEvent:
    return outbox.save(replace(flag(who, reasons=reasons, consent=consent), revision=0)).event


def decide(
    outbox: Outbox,
    event: FlagEvent,
    state: str = "accepted",
    after: str = "",
    by: str = "ada",
    note: str = "",
) -> Review:
    matter = matter_of(event)
    draft = Review(flag_id=event.flag_id, after=after, state=state, by=by, matter=matter, note=note)
    (review,) = decisions(outbox).decide(draft)
    return review


def decisions(outbox: Outbox) -> Decisions:
    return Exchange(outbox).decisions


def fetch(outbox: Outbox) -> None:
    exchange = Exchange(outbox)
    for dataset in NAMES:
        exchange.fetch(dataset, PATIENCE)


def lines(hub: Hub, dataset: str = FLAGS) -> list[dict]:
    """The decisions in a dataset, each as often as it is there."""
    repo = hub.store.repo("dataset", NAMES[dataset])
    head = repo.commit("main")
    paths = sorted(path for path in head.tree if path.startswith(f"{REVIEWS}/"))
    return [json.loads(line) for path in paths for line in repo.read(head, path).splitlines()]


def test_a_decision_of_one_machine_is_there_on_the_other(machine: Machine, datasets: Hub) -> None:
    space, laptop = machine("space"), machine("laptop")
    review = decide(space, save(space))
    Sync(space).flush()
    fetch(laptop)
    assert list(decisions(laptop).events()) == [review]
    Sync(laptop).flush()  # what came from elsewhere is not sent again
    assert lines(datasets) == [to_row(review)]
    assert not status(space).waits and not status(laptop).waits


def test_a_decision_is_there_after_a_restart_with_an_empty_disk(machine: Machine, datasets: Hub) -> None:
    before = machine("before")
    review = decide(before, save(before))
    Sync(before).flush()
    after = machine("after")
    sync = Sync(after, look_seconds=0.01).start()
    wait_until(lambda: list(decisions(after).events()) == [review])
    assert sync.stop(seconds=60)


def test_flag_and_decision_go_with_one_commit(machine: Machine, datasets: Hub) -> None:
    space = machine("space")
    decide(space, save(space))
    Sync(space).flush()
    repo = datasets.store.repo("dataset", NAMES[FLAGS])
    assert len(list(repo.log(repo.commit("main")))) == 2  # one made it, one filled it


@pytest.mark.parametrize(
    "fault", [cut(after=True), cut(half=True), answering(503), answering(409), answering(412)]
)
def test_a_decision_is_there_once_whatever_goes_wrong(machine: Machine, datasets: Hub, fault: object) -> None:
    space = machine("space")
    review = decide(space, save(space))
    datasets.faults.next("commit", fault)
    Sync(space).flush(patience=0)
    Sync(space).flush()  # as the next start does
    assert lines(datasets) == [to_row(review)]


def test_a_fetch_that_broke_off_is_continued_and_sends_nothing_back(machine: Machine, datasets: Hub) -> None:
    space, laptop = machine("space"), machine("laptop")
    made = []
    for who in ("ann", "bob", "cy"):
        made.append(decide(space, save(space, who)))
        Sync(space).flush()
    datasets.faults.next("resolve", *[answering(500)] * 2)
    exchange = Exchange(laptop)
    with pytest.raises(door.NetworkError):
        exchange.fetch(FLAGS, 0)
    Sync(laptop).flush()
    exchange.fetch(FLAGS, PATIENCE)
    assert sorted(decisions(laptop).standing().values(), key=lambda one: one.at) == made
    assert len(lines(datasets)) == 3


def test_both_see_the_same_conflict_and_one_more_decision_settles_it(machine: Machine, datasets: Hub) -> None:
    space, laptop = machine("space"), machine("laptop")
    event = save(space)
    first = decide(space, event, "accepted", by="ada")
    laptop.save(replace(event, revision=0))
    second = decide(laptop, event, "rejected", by="bob")
    for one in (laptop, space):  # the later decision arrives first
        Sync(one).flush()
    for one in (space, laptop):
        fetch(one)
        (conflict,) = decisions(one).conflicts().values()
        assert (conflict.stands, conflict.overtaken) == (first, (second,))
    last = decide(laptop, event, "rejected", after=first.review_id, by="bob")
    Sync(laptop).flush()
    fetch(space)
    for one in (space, laptop):
        assert decisions(one).last(event.flag_id) == last and not decisions(one).conflicts()
    assert len(lines(datasets)) == 3


def test_a_decision_on_a_safety_flag_goes_where_its_flag_goes(machine: Machine, datasets: Hub) -> None:
    space = machine("space")
    plain, unsafe = save(space, "ann"), save(space, "bob", ("self_harm",))
    harmless, harmful = decide(space, plain), decide(space, unsafe, "safety")
    Sync(space).flush()
    assert (lines(datasets, FLAGS), lines(datasets, SAFETY)) == ([to_row(harmless)], [to_row(harmful)])


def test_a_decision_on_a_flag_that_is_not_here_goes_to_the_safety_dataset(
    machine: Machine, datasets: Hub
) -> None:
    laptop = machine("laptop")
    review = decide(laptop, flag())
    Sync(laptop).flush()
    assert lines(datasets, SAFETY) == [to_row(review)]


def test_a_decision_stays_as_long_as_its_flag_does(machine: Machine, datasets: Hub) -> None:
    space = machine("space")
    event = save(space, consent=Consent())
    review = decide(space, event)
    Sync(space).flush()
    assert datasets.requests == []
    assert not status(space).waits
    save(space)  # the same vote, now with consent
    assert status(space).decisions == {FLAGS: 1}
    Sync(space).flush()
    assert lines(datasets) == [to_row(review)]


def test_a_purged_decision_is_not_sent_again(machine: Machine, datasets: Hub) -> None:
    space = machine("space")
    event = save(space)
    decide(space, event)
    sync = Sync(space)
    Exchange(space).seal()
    assert decisions(space).forget(event.flag_id) == 1
    sync.flush()
    assert lines(datasets) == []


def test_a_file_that_somebody_put_there_by_hand_is_left_alone(machine: Machine, datasets: Hub) -> None:
    space, laptop = machine("space"), machine("laptop")
    decide(space, save(space))
    Sync(space).flush()
    door.commit(NAMES[FLAGS], {f"{REVIEWS}/mine.jsonl": b"not JSON\n"}, "by hand")
    fetch(laptop)
    assert len(list(decisions(laptop).events())) == 1


def test_what_breaks_the_format_is_refused_and_told(machine: Machine, datasets: Hub) -> None:
    space, laptop = machine("space"), machine("laptop")
    review = decide(space, save(space))
    Sync(space).flush()
    forged = content_of([replace(review, state="rejected")])
    door.commit(
        NAMES[FLAGS], {f"{REVIEWS}/2026-11-21/20261121T090000Z-{'0' * 8}-{'0' * 12}.jsonl": forged}, "forged"
    )
    assert "content_hash does not belong to the content" in catch_up(laptop)
    assert list(decisions(laptop).events()) == [review]


def test_curate_uses_what_was_decided_elsewhere(machine: Machine, datasets: Hub, capsys: Captured) -> None:
    space, laptop = machine("space"), Outbox(home() / NAME)
    event = space.save(replace(flag(correction="In 60 days.", reasons=("outdated",)), revision=0)).event
    laptop.save(replace(event, revision=0))
    laptop.close()
    decide(space, event)
    Sync(space).flush()
    assert main(["curate", "--eval-share", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]["rows"]["sft"] == 1


def test_a_hub_that_is_away_is_told_and_what_is_here_is_used(
    machine: Machine, datasets: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop = machine("laptop")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "Flags and decisions of others may be missing" in catch_up(laptop, patience=0)


def test_a_card_from_before_learns_of_decisions_and_keeps_what_was_written(
    machine: Machine, datasets: Hub
) -> None:
    card = (
        b"---\nlicense: cc0-1.0\nconfigs:\n- config_name: default\n  data_files: data/v1/*\n"
        b"dataset_info:\n  config_name: default\n  features: []\n---\n\n# Ours\n"
    )
    door.create_private(NAMES[FLAGS])
    door.commit(NAMES[FLAGS], {CARD: card}, "by hand")
    space = machine("space")
    save(space)
    Sync(space).flush()
    repo = datasets.store.repo("dataset", NAMES[FLAGS])
    found = repo.read(repo.commit("main"), CARD)
    assert b"license: cc0-1.0" in found and b"config_name: reviews" in found and found.endswith(b"\n# Ours\n")
    assert with_reviews(found) == found
    for other in (b"# Mine\n", b"---\n- a list\n---\n", b"\xff", readme(FLAGS)):
        assert with_reviews(other) == other


def test_load_dataset_reads_the_decisions(machine: Machine, datasets: Hub, tmp_path: Path) -> None:
    space = machine("space")
    made = [decide(space, save(space, who), note="2026-11-21") for who in ("ann", "bob")]
    Sync(space).flush()
    program = (
        "import json, datasets\n"
        "for row in datasets.load_dataset('somebody/flags', 'reviews', split='train'):\n"
        "    print(json.dumps(row))\n"
        "print(len(datasets.load_dataset('somebody/flags', split='train')))"
    )
    *found, flags = python(datasets, program, tmp_path).splitlines()
    assert [json.loads(line) for line in found] == [to_row(one) for one in made]
    assert flags == "2"


def test_the_verb_brings_decisions_and_review_sends_them(
    machine: Machine, datasets: Hub, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    space, laptop = machine("space"), Outbox(home() / NAME)
    for who in ("ann", "bob"):
        laptop.save(replace(save(space, who), revision=0))
    event = next(space.events())
    review = decide(space, event)
    Sync(space).flush()
    monkeypatch.setattr("feedback.review.review.read_key", lambda prompt: "r")
    assert main(["flags", "review", "--by", "bob"]) == 0
    assert "1 decided." in capsys.readouterr().out
    assert main(["flags", "sync"]) == 0
    assert Decisions.at_home().last(event.flag_id) == review
    fetch(space)
    assert {one.by for one in decisions(space).events()} == {"ada", "bob"}
    laptop.close()


def wait_until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.02)
