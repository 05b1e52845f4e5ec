"""A flag that turns to safety is withdrawn from the first dataset and lives on in the second, as one flag."""

import gzip
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest

from feedback.hub.compact import compact
from feedback.hub.dataset import FLAGS, SAFETY
from feedback.hub.segment import Segments
from feedback.hub.sync import Sync
from feedback.revisions import fold
from feedback.schema import Consent, FlagEvent, from_row
from feedback.store.outbox import Outbox
from feedback.store.saving import Choice, FlaggedMessage, save_flag
from tests.feedback.machines import NAMES
from tests.hub.faults import cut
from tests.hub.server import Hub
from tests.hub.store import Refused

pytest_plugins = ["tests.hub.local"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # the client's own
    pytest.mark.usefixtures("quick_pauses"),
]

YES = Consent("v1", "flag+thread", True, "", "2026-11-20T10:00:01.000Z")
NARROW = replace(YES, scope="flag_only")
TOMORROW = datetime.now(UTC) + timedelta(days=2)
SECRET = "quokka"

Send = Callable[..., FlagEvent]


@pytest.fixture
def send(outbox: Outbox, message: FlaggedMessage, datasets: Hub) -> Send:
    """send(reasons=...) is one more vote on the same answer, on the Hub at once."""

    def send(into: Outbox = outbox, flush: bool = True, **chosen: object) -> FlagEvent:
        choice = {"verdict": "bad", "consent": YES, "comment": SECRET, "preview_shown": True, **chosen}
        event = save_flag(into, message, Choice(**choice)).event
        if flush:
            Sync(into).flush()
        return event

    return send


def events(hub: Hub, dataset: str) -> list[FlagEvent]:
    repo = hub.store.repo("dataset", NAMES[dataset])
    head = repo.commit("main")
    found = [(path, repo.read(head, path)) for path in sorted(head.tree) if path.startswith("data/v1/")]
    lines = [
        line
        for path, content in found
        for line in (gzip.decompress(content) if path.endswith(".gz") else content).splitlines()
    ]
    return [from_row(line) for line in lines]


def steps(found: list[FlagEvent]) -> list[tuple[str, int]]:
    """What the events do; of segments of one second the names do not tell the order."""
    return sorted(((event.op, event.revision) for event in found), key=lambda step: (step[1], step[0]))


def test_a_flag_that_turns_to_safety_is_withdrawn_where_it_was(datasets: Hub, send: Send) -> None:
    first = send()
    unsafe = send(reasons=("self_harm",))
    before, withdrawn = sorted(events(datasets, FLAGS), key=lambda event: event.op)
    assert before == first and (withdrawn.op, withdrawn.revision) == ("retract", 1)
    assert SECRET in repr(first) and SECRET not in repr(withdrawn)
    assert events(datasets, SAFETY) == [unsafe]


def test_each_dataset_and_both_together_fold_into_what_stands(datasets: Hub, send: Send) -> None:
    send()
    unsafe = send(reasons=("privacy_leak",))
    of_first, of_second = events(datasets, FLAGS), events(datasets, SAFETY)
    for order in permutations([*of_first, *of_second]):
        assert fold(order) == {unsafe.flag_id: unsafe}
    assert fold(of_first) == {} and fold(of_second) == {unsafe.flag_id: unsafe}
    assert len({event.event_id for event in [*of_first, *of_second]}) == 3


def test_the_next_compaction_takes_its_texts_from_the_first_dataset(datasets: Hub, send: Send) -> None:
    send()
    send(reasons=("self_harm",))
    compact(FLAGS, TOMORROW)
    assert steps(events(datasets, FLAGS)) == [("retract", 1)]
    assert steps(events(datasets, SAFETY)) == [("amend", 2)]


def test_it_is_withdrawn_once_and_later_votes_stay_where_it_lives(datasets: Hub, send: Send) -> None:
    send()
    send(reasons=("self_harm",))
    send(reasons=("hate_bias",), comment="worse")
    last = send(reasons=(), comment="never mind")
    assert steps(events(datasets, FLAGS)) == [("create", 1), ("retract", 1)]
    assert steps(events(datasets, SAFETY)) == [("amend", 2), ("amend", 3), ("amend", 4)]
    assert fold([*events(datasets, FLAGS), *events(datasets, SAFETY)]) == {last.flag_id: last}


def test_withdrawn_by_its_contributor_it_is_gone_from_both(datasets: Hub, send: Send) -> None:
    send()
    send(reasons=("self_harm",))
    send(verdict="", comment=None, retract=True, preview_shown=False)
    assert steps(events(datasets, FLAGS)) == [("create", 1), ("retract", 1), ("retract", 3)]
    assert fold([*events(datasets, FLAGS), *events(datasets, SAFETY)]) == {}


def test_what_was_about_safety_before_it_left_is_not_named_in_the_first(datasets: Hub, send: Send) -> None:
    send(flush=False)
    send(reasons=("self_harm",))
    with pytest.raises(Refused):
        datasets.store.repo("dataset", NAMES[FLAGS])
    assert steps(events(datasets, SAFETY)) == [("create", 1), ("amend", 2)]


def test_a_flag_that_began_on_another_machine_is_withdrawn_too(
    datasets: Hub, send: Send, tmp_path: Path
) -> None:
    send()
    with closing(Outbox(tmp_path / "other" / "outbox.sqlite")) as other:
        send(other, reasons=("self_harm",), seen_revision=1)
    assert fold(events(datasets, FLAGS)) == {}
    assert steps(events(datasets, SAFETY)) == [("create", 2)]


def test_it_leaves_even_where_a_narrower_consent_keeps_the_words_here(datasets: Hub, send: Send) -> None:
    send()
    send(reasons=("self_harm",), flush=False)
    send(reasons=("self_harm",), consent=NARROW)
    assert fold(events(datasets, FLAGS)) == {}
    assert steps(events(datasets, SAFETY)) == [("amend", 3)]


def test_the_segment_is_the_same_at_every_try(datasets: Hub, outbox: Outbox, send: Send) -> None:
    send()
    send(reasons=("self_harm",), flush=False)
    datasets.faults.next("commit", cut(after=True))
    Sync(outbox).flush(patience=0)
    assert Segments(outbox).unconfirmed(FLAGS) == Segments(outbox).unconfirmed(FLAGS) != []
    Sync(outbox).flush()
    assert steps(events(datasets, FLAGS)) == [("create", 1), ("retract", 1)]
