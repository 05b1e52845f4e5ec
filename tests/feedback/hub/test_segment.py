"""Sealing: what may leave becomes files, each row in one; what may not stays."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from backtalk.files import canonical_json
from feedback.hub.dataset import FLAGS, SAFETY
from feedback.hub.segment import Segments, sealed_time
from feedback.schema import Consent, FlagEvent, to_row
from feedback.store.outbox import Outbox
from feedback.store.saving import Choice, FlaggedMessage, save_flag

YES = Consent("v1", "flag+thread", True, "", "2026-11-20T10:00:01.000Z")
BAD = Choice(verdict="bad", consent=YES)


@pytest.fixture
def segments(outbox: Outbox) -> Segments:
    return Segments(outbox)


def save(outbox: Outbox, message: FlaggedMessage, choice: Choice, message_id: str = "m4") -> FlagEvent:
    return save_flag(outbox, replace(message, message_id=message_id), choice).event


def line(event: FlagEvent) -> bytes:
    return canonical_json(to_row(event)) + b"\n"


def test_a_segment_holds_the_rows_as_they_are_stored_and_is_named_by_them(
    outbox: Outbox, segments: Segments, message: FlaggedMessage
) -> None:
    events = [save(outbox, message, BAD, name) for name in ("m4", "m6", "m8")]
    assert segments.seal() == 3
    [segment] = segments.unconfirmed(FLAGS)
    assert segment.content == b"".join(line(event) for event in events)
    folder, date, file = segment.name.rsplit("/", 2)
    assert folder == "data/v1" and date == f"{sealed_time(segment.name):%Y-%m-%d}"
    stamp, replica, sha = file.removesuffix(".jsonl").split("-")
    assert sha == hashlib.sha256(segment.content).hexdigest()[:12]
    assert stamp[:8] == date.replace("-", "") and len(replica) == 8


def test_a_sealed_row_is_not_sealed_again_and_its_segment_stays_the_same(
    outbox: Outbox, segments: Segments, message: FlaggedMessage
) -> None:
    save(outbox, message, BAD)
    segments.seal()
    [before] = segments.unconfirmed(FLAGS)
    save(outbox, message, Choice(verdict="good", consent=YES))
    assert segments.seal() == 1 and segments.seal() == 0
    assert before in segments.unconfirmed(FLAGS)


def test_without_consent_nothing_is_sealed(
    outbox: Outbox, segments: Segments, message: FlaggedMessage
) -> None:
    save(outbox, message, Choice(verdict="bad"))
    assert segments.seal() == 0 and not segments.anything_to_seal()
    assert segments.course().without_consent == 1
    later = save(outbox, message, BAD)
    assert segments.seal() == 1
    assert segments.unconfirmed(FLAGS)[0].content == line(later)


def test_confirmed_segments_are_no_longer_waiting(
    outbox: Outbox, segments: Segments, message: FlaggedMessage
) -> None:
    event = save(outbox, message, BAD)
    segments.seal()
    [segment] = segments.unconfirmed(FLAGS)
    segments.hinder(FLAGS, "No network.")
    assert segments.course().waiting == {FLAGS: 1} and segments.course().hindrances == {FLAGS: "No network."}
    assert segments.commit_of(event.event_id) == ""
    segments.confirm(FLAGS, [segment.name], "abc1234")
    course = segments.course()
    assert (course.confirmed, course.waiting, course.commit, course.hindrances) == (1, {}, "abc1234", {})
    assert segments.commit_of(event.event_id) == "abc1234"
    assert segments.commits_of_the_day(FLAGS) == 1 and segments.commits_of_the_day(SAFETY) == 0


@pytest.mark.parametrize("reason", ["harmful", "privacy_leak", "self_harm"])
def test_safety_and_privacy_flags_never_go_to_the_first_dataset(
    outbox: Outbox, segments: Segments, message: FlaggedMessage, reason: str
) -> None:
    hazards = ("S1",) if reason == "harmful" else ()
    save(outbox, message, BAD)
    save(outbox, message, Choice(verdict="bad", reasons=(reason,), hazards=hazards))
    save(outbox, message, Choice(verdict="good"))
    segments.seal()
    assert not segments.unconfirmed(FLAGS)
    assert segments.unconfirmed(SAFETY)[0].content.count(b"\n") == 3


@pytest.mark.parametrize("scope", ["", "flag_only"])
def test_who_agrees_to_less_before_it_left_has_agreed_to_less(
    outbox: Outbox, segments: Segments, message: FlaggedMessage, scope: str
) -> None:
    wide = Consent("v1", "flag+thread", True)
    save(outbox, message, Choice(verdict="bad", consent=wide))
    narrow = save(outbox, message, Choice(verdict="bad", consent=replace(wide, scope=scope)))
    segments.seal()
    content = b"".join(segment.content for segment in segments.unconfirmed(FLAGS))
    assert content == (line(narrow) if scope else b"")


def test_what_was_withdrawn_before_it_left_never_leaves(
    outbox: Outbox, segments: Segments, message: FlaggedMessage
) -> None:
    save(outbox, message, BAD)
    save(outbox, message, Choice(retract=True))
    assert segments.seal() == 2 and segments.seal() == 0
    assert not segments.unconfirmed(FLAGS) and not segments.unconfirmed(SAFETY)
    assert segments.course().waiting == {} and segments.course().without_consent == 0


def test_a_withdrawal_follows_the_flag_and_the_rest_of_it_stays_here(
    outbox: Outbox, segments: Segments, message: FlaggedMessage
) -> None:
    save(outbox, message, BAD)
    segments.seal()
    save(outbox, message, Choice(verdict="bad", comment="a comment", preview_shown=True))
    gone = save(outbox, message, Choice(retract=True))
    segments.seal()
    assert line(gone) in [segment.content for segment in segments.unconfirmed(FLAGS)]
    assert not any(b"a comment" in segment.content for segment in segments.unconfirmed(FLAGS))


def test_a_withdrawal_reaches_both_datasets_where_both_have_something(
    outbox: Outbox, segments: Segments, message: FlaggedMessage
) -> None:
    save(outbox, message, BAD)
    segments.seal()
    save(outbox, message, Choice(verdict="bad", reasons=("privacy_leak",)))
    segments.seal()
    gone = save(outbox, message, Choice(retract=True))
    segments.seal()
    for dataset in (FLAGS, SAFETY):
        assert line(gone) in [segment.content for segment in segments.unconfirmed(dataset)]


def test_a_withdrawal_of_a_flag_from_a_lost_disk_goes_to_both(
    outbox: Outbox, segments: Segments, message: FlaggedMessage
) -> None:
    gone = save(outbox, message, Choice(retract=True, seen_revision=4))
    segments.seal()
    assert [segments.unconfirmed(name)[0].content for name in (FLAGS, SAFETY)] == [line(gone)] * 2


def test_a_segment_has_room_for_so_many_bytes(
    outbox: Outbox, segments: Segments, message: FlaggedMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = max(len(line(save(outbox, message, BAD, f"m{number}"))) for number in range(5))
    monkeypatch.setattr("feedback.hub.segment.MOST_BYTES", 2 * size)
    assert [segments.seal() for _ in range(4)] == [2, 2, 1, 0]
    assert [segment.content.count(b"\n") for segment in segments.unconfirmed(FLAGS)].count(2) == 2


def test_a_damaged_outbox_keeps_what_was_sealed_and_sent(
    path: Path, outbox: Outbox, segments: Segments, message: FlaggedMessage
) -> None:
    event = save(outbox, message, BAD)
    segments.seal()
    [segment] = segments.unconfirmed(FLAGS)
    segments.confirm(FLAGS, [segment.name], "abc1234")
    outbox.close()
    content = bytearray(path.read_bytes())
    place = content.index(b"CREATE INDEX unsealed")
    content[place : place + 6] = b"DAMAGE"
    path.write_bytes(content)
    mended = Outbox(path)
    assert mended.notice
    again = Segments(mended)
    assert again.seal() == 0 and again.commit_of(event.event_id) == "abc1234"
    mended.close()
