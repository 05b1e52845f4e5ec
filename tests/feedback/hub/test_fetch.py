"""What Spaces collected is on a maintainer's machine: all of it, each flag once, and nothing that has gone.

Command: .venv/bin/python -m pytest tests/feedback/hub/test_fetch.py
Promise: after a fetch the folder holds the dataset's files of flags at its head, byte for byte, whatever
broke off before; what the Hub no longer has, or this token may not see, is not here either.
"""

import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backtalk import hub as door
from backtalk.cli import main
from backtalk.errors import NetworkError
from backtalk.home import home
from feedback.hub.compact import compact
from feedback.hub.dataset import FLAGS, FOLDER, SAFETY
from feedback.hub.exchange import Exchange
from feedback.hub.fetch import catch_up, fetch
from feedback.hub.fetched import Fetched
from feedback.hub.known import KnownFlags
from feedback.hub.sync import Sync
from feedback.revisions import withdrawal
from feedback.rights.purge import purge
from feedback.schema import FlagEvent
from feedback.store.decisions import Decisions, Review, matter_of
from feedback.store.outbox import NAME, Outbox
from tests.feedback.events import CORRECTION, flag
from tests.feedback.machines import NAMES, Machine
from tests.hub.faults import status as answering
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # the client's own
    pytest.mark.usefixtures("datasets"),
]

SECRET = "quokka"  # a word that only one flag holds
TOMORROW = datetime.now(UTC) + timedelta(days=2)

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def laptop() -> Iterator[Outbox]:
    """The outbox of this machine, where nobody ever flagged."""
    with closing(Outbox(home() / NAME)) as opened:
        yield opened


def send(outbox: Outbox, who: str, **said: object) -> FlagEvent:
    """One flag, saved and sent with a commit of its own."""
    event = outbox.save(replace(flag(who, **said), revision=0)).event  # type: ignore[arg-type]
    Sync(outbox).flush()
    return event


def withdraw(outbox: Outbox, event: FlagEvent) -> None:
    outbox.save(withdrawal(event))
    Sync(outbox).flush()


def paths(outbox: Outbox, dataset: str = FLAGS) -> set[str]:
    folder = Fetched.beside(outbox).folder / dataset
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def on_hub(hub: Hub, dataset: str = FLAGS) -> set[str]:
    tree = hub.store.repo("dataset", NAMES[dataset]).commit("main").tree
    return {path for path in tree if path.startswith(f"{FOLDER}/")}


def asked(hub: Hub, route: str, work: Callable[[], object]) -> int:
    """How often the work asked the Hub for this."""
    before = hub.requests.count(route)
    work()
    return hub.requests.count(route) - before


def holding(folder: Path, text: str) -> list[str]:
    def content(path: Path) -> bytes:
        found = path.read_bytes()
        return gzip.decompress(found) if found[:2] == b"\x1f\x8b" else found

    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in content(path)]


def last_json(captured: Captured) -> dict:
    return json.loads(captured.readouterr().out.splitlines()[-1])


def test_every_verb_works_on_everybodys_flags_from_an_empty_machine(
    machine: Machine, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = send(machine("one"), "ann", reasons=("outdated",), correction=CORRECTION)
    bob = send(machine("other"), "bob", verdict="good")
    assert main(["flags", "list", "--json"]) == 0
    found = last_json(capsys)
    assert [one["flag_id"] for one in found["flags"]] == [bob.flag_id, ann.flag_id]  # the newest first
    assert found["standing"] == 2
    assert main(["flags", "show", ann.flag_id[:8]]) == 0
    assert CORRECTION in capsys.readouterr().out
    assert main(["flags", "stats", "--json"]) == 0
    assert last_json(capsys)["flags"] == 2
    monkeypatch.setattr("sys.stdin", io.StringIO("a\na\n"))
    assert main(["flags", "review", "--by", "ada", "--json"]) == 0
    *_, sent, last = capsys.readouterr().out.splitlines()
    assert (json.loads(last), sent) == ({"decided": 2}, "What may leave this machine is on the Hub.")
    assert main(["curate", "--eval-share", "0", "--json"]) == 0
    assert last_json(capsys)["metrics"]["rows"]["sft"] == 2
    assert main(["trace", ann.flag_id[:8], "--json"]) == 0
    assert [used["kind"] for used in last_json(capsys)["used_by"]] == ["curated set"]


def test_the_verb_says_what_came(machine: Machine, datasets: Hub, capsys: Captured) -> None:
    send(machine("space"), "ann")
    assert main(["flags", "sync", "--json"]) == 0
    head = datasets.store.repo("dataset", NAMES[FLAGS]).commit("main").oid
    *lines, last = capsys.readouterr().out.splitlines()
    assert f"Fetched from somebody/flags: 1 files, at commit {head[:7]}." in lines
    assert json.loads(last)["fetched"][FLAGS]["commit"] == head


def test_a_decision_on_a_flag_of_others_goes_where_the_flag_is_and_comes_to_its_space(
    machine: Machine, laptop: Outbox
) -> None:
    space = machine("space")
    event = send(space, "ann")
    catch_up(laptop)
    (review,) = Decisions.at_home().decide(
        Review(flag_id=event.flag_id, state="accepted", by="ada", matter=matter_of(event))
    )
    Sync(laptop).flush()
    exchange = Exchange(space)
    exchange.fetch(FLAGS, 60)
    assert exchange.decisions.last(event.flag_id) == review


def test_a_fetch_brings_only_what_is_new(machine: Machine, laptop: Outbox, datasets: Hub) -> None:
    space = machine("space")
    send(space, "ann")
    assert fetch(FLAGS, home() / "fetched") == 1
    assert asked(datasets, "tree", lambda: fetch(FLAGS, home() / "fetched")) == 0
    send(space, "bob")
    assert asked(datasets, "resolve", lambda: fetch(FLAGS, home() / "fetched")) == 1
    assert paths(laptop) == on_hub(datasets)


def test_a_fetch_that_broke_off_is_continued(machine: Machine, laptop: Outbox, datasets: Hub) -> None:
    space = machine("space")
    for who in ("ann", "bob", "cy"):
        send(space, who)
    datasets.faults.next("resolve", answering(500))
    with pytest.raises(NetworkError):
        fetch(FLAGS, home() / "fetched", patience=0)
    came = len(paths(laptop))
    assert came < 3
    assert asked(datasets, "resolve", lambda: fetch(FLAGS, home() / "fetched")) == 3 - came
    assert paths(laptop) == on_hub(datasets)


def test_a_file_that_came_altered_is_not_kept(machine: Machine, laptop: Outbox, datasets: Hub) -> None:
    send(machine("space"), "ann")
    (path,) = on_hub(datasets)
    repo = datasets.store.repo("dataset", NAMES[FLAGS])
    blob = repo.folder / "blobs" / repo.commit("main").tree[path].oid
    whole = blob.read_bytes()
    blob.write_bytes(whole.replace(b"30 days", b"31 days"))
    assert "came otherwise than the Hub lists it" in catch_up(laptop)
    assert paths(laptop) == set()
    blob.write_bytes(whole)
    assert catch_up(laptop) == "" and paths(laptop) == on_hub(datasets)


def test_a_file_that_was_damaged_here_is_brought_again_with_the_next_commit(
    machine: Machine, laptop: Outbox, datasets: Hub
) -> None:
    space = machine("space")
    event = send(space, "ann")
    catch_up(laptop)
    (path,) = (home() / "fetched").rglob("*.jsonl")
    path.write_bytes(path.read_bytes()[:100])
    assert KnownFlags(laptop).current(event.flag_id) is None
    send(space, "bob")
    catch_up(laptop)
    assert KnownFlags(laptop).current(event.flag_id) == event


def test_after_a_compaction_each_flag_is_here_once_and_segments_are_gone(
    machine: Machine, laptop: Outbox, datasets: Hub
) -> None:
    space = machine("space")
    events = [send(space, who) for who in ("ann", "bob")]
    catch_up(laptop)
    segments = paths(laptop)
    compact(FLAGS, TOMORROW)
    catch_up(laptop)
    assert paths(laptop) == on_hub(datasets) and not paths(laptop) & segments
    with closing(Fetched.beside(laptop)) as fetched:
        known = KnownFlags(laptop, fetched)
        assert list(known.standing()) == events[::-1] and known.count() == 2
        assert [known.history(event.flag_id) for event in events] == [[event] for event in events]


def test_a_withdrawn_flag_does_not_stand_and_after_a_compaction_its_text_is_gone(
    machine: Machine, laptop: Outbox
) -> None:
    space = machine("space")
    event = send(space, "ann", comment=f"No {SECRET}.")
    catch_up(laptop)
    assert holding(home() / "fetched", SECRET)
    withdraw(space, event)
    catch_up(laptop)
    assert list(KnownFlags(laptop).standing()) == [] and KnownFlags(laptop).count() == 0
    compact(FLAGS, TOMORROW)
    catch_up(laptop)
    assert holding(home() / "fetched", SECRET) == []


def test_what_another_machine_purged_leaves_this_one_with_the_next_fetch(
    machine: Machine, laptop: Outbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    space = machine("space")
    event, other = send(space, "ann", comment=f"No {SECRET}."), send(space, "bob")
    catch_up(laptop)
    with monkeypatch.context() as there:
        there.setenv("BACKTALK_HOME", str(tmp_path / "space"))
        purge(event.flag_id)
    catch_up(laptop)
    assert holding(home(), SECRET) == []
    assert list(KnownFlags(laptop).standing()) == [other]


def test_a_purge_here_reaches_what_was_fetched(machine: Machine, laptop: Outbox) -> None:
    space = machine("space")
    event = send(space, "ann", comment=f"No {SECRET}.")
    catch_up(laptop)
    purge(event.flag_id[:8])  # the beginning of an id that only the fetched files know
    assert holding(home(), SECRET) == []
    catch_up(laptop)
    assert holding(home(), SECRET) == [] and KnownFlags(laptop).count() == 0


def test_a_flag_of_others_can_be_withdrawn_here(machine: Machine, laptop: Outbox, capsys: Captured) -> None:
    event = send(machine("space"), "ann")
    catch_up(laptop)
    assert main(["flags", "retract", event.flag_id[:8]]) == 0
    Sync(laptop).flush()
    catch_up(laptop)
    assert [one.op for one in KnownFlags(laptop).history(event.flag_id)] == ["create", "retract"]
    assert list(KnownFlags(laptop).standing()) == []


def test_safety_flags_come_only_to_who_may_see_their_dataset(
    machine: Machine, laptop: Outbox, datasets: Hub
) -> None:
    space = machine("space")
    plain, unsafe = send(space, "ann"), send(space, "bob", reasons=("self_harm",), comment=SECRET)
    catch_up(laptop)
    assert {one.flag_id for one in KnownFlags(laptop).standing()} == {plain.flag_id, unsafe.flag_id}
    assert holding(home() / "fetched" / FLAGS, SECRET) == []
    datasets.store.delete("dataset", NAMES[SAFETY])  # as it is for a token that may not see it
    catch_up(laptop)
    assert list(KnownFlags(laptop).standing()) == [plain] and holding(home(), SECRET) == []


def test_a_token_that_is_not_valid_any_more_takes_nothing_away(
    machine: Machine, laptop: Outbox, datasets: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = send(machine("space"), "ann")
    catch_up(laptop)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    assert "may be missing" in catch_up(laptop)
    assert list(KnownFlags(laptop).standing()) == [event]


def test_the_last_event_stands_wherever_it_was_made(machine: Machine, laptop: Outbox) -> None:
    first = send(machine("space"), "ann", verdict="good")
    catch_up(laptop)
    laptop.save(replace(flag("ann", verdict="bad"), revision=first.revision))
    (stands,) = KnownFlags(laptop).standing()
    assert (stands.verdict, stands.revision) == ("bad", 2)
    assert [one.revision for one in KnownFlags(laptop).history(first.flag_id)] == [1, 2]


def test_lines_that_break_the_format_are_told_and_hide_nothing(
    machine: Machine, laptop: Outbox, capsys: Captured
) -> None:
    event = send(machine("space"), "ann")
    forged = json.dumps(
        {"flag_id": event.flag_id, "revision": 9, "op": "retract", "created_at": "x", "event_id": "y"}
    )
    door.commit(NAMES[FLAGS], {f"{FOLDER}/mine.jsonl": f"{forged}\nno JSON\n".encode()}, "by hand")
    assert main(["flags", "list"]) == 0
    told = capsys.readouterr()
    assert "1 of 1 flags" in told.out
    assert "mine.jsonl, from byte 0: " in told.err and "this line is no flag event" in told.err


def test_a_hub_that_is_away_is_told_and_what_was_fetched_is_used(
    machine: Machine, laptop: Outbox, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    send(machine("space"), "ann")
    catch_up(laptop)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["flags", "stats"]) == 0
    told = capsys.readouterr()
    assert "1 flags stand" in told.out and "may be missing" in told.err
