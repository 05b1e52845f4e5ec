"""From a click to a flag: the first click counts, the rest amends it, un-clicking withdraws it."""

from dataclasses import replace
from typing import Any

import pytest

from backtalk.errors import FlagError
from feedback.schema import MOST_MESSAGES, MOST_SHOWN, THREAD, Consent, Extras, Message
from feedback.store.outbox import Outbox
from feedback.store.saving import Choice, FlaggedMessage, draft, preview, save_flag

WHOLE = Consent("1", THREAD, True, "", "2026-11-20T10:00:00.000Z")


def test_the_first_click_is_a_whole_flag(outbox: Outbox, message: FlaggedMessage) -> None:
    receipt = save_flag(outbox, message, Choice("bad", consent=WHOLE))
    event = outbox.current(receipt.flag_id)
    assert event is not None and event == receipt.event
    assert (event.op, event.revision, event.verdict, event.consent) == ("create", 1, "bad", WHOLE)
    assert event.shown.messages == message.shown and event.sent.message_ids == ("m3",)
    assert event.model == message.model and event.sampling == message.sampling
    assert event.answer == message.answer and event.time_to_flag_ms > 0
    assert receipt.sentence == "Saved on this machine."


def test_before_anybody_was_asked_no_earlier_turn_is_written_down(
    outbox: Outbox, message: FlaggedMessage
) -> None:
    event = save_flag(outbox, message, Choice("bad")).event
    assert event.consent == Consent() and event.answer == message.answer
    assert (event.shown.messages, event.shown.omitted) == (message.shown[-1:], 2)
    assert preview(outbox, message, Choice("good")).shown == event.shown
    later = save_flag(outbox, message, Choice("bad", consent=WHOLE)).event
    again = save_flag(outbox, message, Choice("good")).event  # under the consent that was stored
    assert later.shown.messages == again.shown.messages == message.shown


def test_what_is_not_named_stays_while_the_verdict_does(outbox: Outbox, message: FlaggedMessage) -> None:
    save_flag(
        outbox, message, Choice("bad", reasons=("outdated", "harmful"), hazards=("S6",), severity="minor")
    )
    save_flag(outbox, message, Choice("bad", comment="Ask ann@example.org.", preview_shown=True))
    event = save_flag(outbox, message, Choice("bad", correction="You have 45 days.")).event
    assert [reason.id for reason in event.reasons] == ["outdated", "harmful"]
    assert (event.hazards, event.severity, event.comment) == (("S6",), "minor", "Ask [email].")
    assert [(found.where, found.kind) for found in event.redactions] == [("comment", "email")]
    assert event.revision == 3 and not event.preview_shown


def test_a_comment_dies_with_its_vote(outbox: Outbox, message: FlaggedMessage) -> None:
    consent = Consent("1", "flag_only", True, "", "2026-11-20T10:00:00.000Z")
    save_flag(
        outbox, message, Choice("bad", ("outdated",), comment="It is ann@example.org.", consent=consent)
    )
    event = save_flag(outbox, message, Choice("good")).event
    assert (event.reasons, event.comment, event.redactions) == ((), "", ())
    assert event.consent == consent
    save_flag(outbox, message, Choice(retract=True))
    again = save_flag(outbox, message, Choice("bad")).event
    assert (again.comment, again.consent, again.op, again.revision) == ("", consent, "create", 4)


def test_details_can_be_cleared(outbox: Outbox, message: FlaggedMessage) -> None:
    save_flag(
        outbox, message, Choice("bad", ("outdated",), severity="minor", comment="Hm.", correction="45.")
    )
    event = save_flag(outbox, message, Choice("bad", (), severity="", comment="", correction="")).event
    assert (event.reasons, event.severity, event.comment, event.correction.text) == ((), "", "", "")


def test_unclicking_withdraws_and_twice_is_once(outbox: Outbox, message: FlaggedMessage) -> None:
    flag = save_flag(outbox, message, Choice("bad")).flag_id
    first, second = (save_flag(outbox, message, Choice(retract=True)) for _ in range(2))
    assert outbox.current(flag) is None
    assert first.sentence == "Withdrawn." and second.repeated
    assert [event.op for event in outbox.history(flag)] == ["create", "retract"]


def test_the_same_click_twice_adds_nothing(outbox: Outbox, message: FlaggedMessage) -> None:
    choice = Choice("bad", ("outdated",), comment="Ask ann@example.org.")
    first, second = save_flag(outbox, message, choice), save_flag(outbox, message, choice)
    assert second.repeated and second.event == first.event
    assert save_flag(outbox, message, Choice("bad")).repeated
    assert outbox.counts().events == 1


def test_a_fresh_disk_counts_on_from_what_the_browser_saw(outbox: Outbox, message: FlaggedMessage) -> None:
    assert save_flag(outbox, message, Choice(retract=True, seen_revision=3)).revision == 4


def test_the_untouched_answer_is_no_correction(outbox: Outbox, message: FlaggedMessage) -> None:
    same = save_flag(outbox, message, Choice("bad", correction=f"{message.answer.text}\n")).event
    assert same.correction.text == ""
    edit = save_flag(outbox, message, Choice("bad", correction="You can send it back within 45 days.")).event
    assert (edit.correction.kind, edit.correction.changed) == ("edit", 0.125)
    other = save_flag(outbox, message, Choice("bad", correction="No returns.")).event
    assert (other.correction.kind, other.correction.changed) == ("rewrite", 1.0)


def test_a_reason_brings_its_hazard_along(outbox: Outbox, message: FlaggedMessage) -> None:
    event = save_flag(outbox, message, Choice("bad", ("self_harm", "privacy_leak"))).event
    assert event.hazards == ("S7", "S11")
    assert event.blocked
    assert not save_flag(outbox, message, Choice("bad", ("self_harm",))).event.blocked


def test_a_conversation_of_ten_thousand_turns_can_be_flagged(outbox: Outbox, message: FlaggedMessage) -> None:
    shown = tuple(Message(f"t{n}", "user", f"turn {n}") for n in range(20_000))
    kept = save_flag(outbox, replace(message, shown=shown), Choice("bad", consent=WHOLE)).event.shown
    assert kept.messages == shown[-MOST_MESSAGES:]
    assert kept.omitted == 20_000 - MOST_MESSAGES


def test_a_message_that_has_no_room_is_left_out_with_all_before_it(
    outbox: Outbox, message: FlaggedMessage
) -> None:
    huge = Message("m0", "user", "x" * (MOST_SHOWN + 1))
    kept = save_flag(
        outbox,
        replace(message, shown=(message.shown[0], huge, message.shown[2])),
        Choice("bad", consent=WHOLE),
    )
    assert kept.event.shown.messages == (message.shown[2],)
    assert kept.event.shown.omitted == 2


@pytest.mark.parametrize(
    "choice",
    [
        Choice(),
        Choice("great"),
        Choice("bad", ("no_such_reason",)),
        Choice("bad", ("clear",)),
        Choice("bad", ("other",)),
        Choice("bad", ("other",), comment="   "),
        Choice("bad", ("slow", "error", "cut_off", "display_bug", "format")),
        Choice("bad", (["outdated"],)),  # type: ignore[arg-type]
        Choice("bad", 7),  # type: ignore[arg-type]
        Choice("bad", hazards=("S1",)),
        Choice("bad", ("slow",), hazards=("S1",)),
        Choice("bad", ("harmful",), hazards=("S14",)),
        Choice("bad", severity="awful"),
        Choice("bad", severity=3),  # type: ignore[arg-type]
        Choice("bad", comment="x" * 4_001),
        Choice("bad", comment=["x"]),  # type: ignore[arg-type]
        Choice("bad", correction="x" * 16_001),
        Choice("bad", correction={"text": "x"}),  # type: ignore[arg-type]
        Choice("bad", extras=Extras(rating=6)),
        Choice("bad", seen_revision=-1),
        Choice("bad", seen_revision=10**9),
        Choice("bad", seen_revision="3"),  # type: ignore[arg-type]
        Choice(retract=True),
    ],
)
def test_a_choice_that_cannot_be_is_refused_and_nothing_of_it_is_stored(
    outbox: Outbox, message: FlaggedMessage, choice: Any
) -> None:
    with pytest.raises(FlagError) as refusal:
        save_flag(outbox, message, choice)
    assert str(refusal.value).endswith(".")
    assert outbox.counts().events == 0


def test_wild_text_is_saved_as_it_can_be_kept(outbox: Outbox, message: FlaggedMessage) -> None:
    comment = "\u202eright to left, <script>alert(1)</script> [x](javascript:1) <|eot_id|> a\0b \ud800 😀"
    event = save_flag(outbox, message, Choice("bad", comment=comment)).event
    assert event.comment == comment.replace("\0", "\ufffd").replace("\ud800", "\ufffd")


def test_an_archived_or_unknown_reason_cannot_be_chosen(message: FlaggedMessage) -> None:
    with pytest.raises(FlagError, match="no reason 'dull' to choose"):
        draft(message, Choice("bad", ("dull",)))


def test_the_largest_flag_that_is_taken_can_be_read_again(outbox: Outbox, message: FlaggedMessage) -> None:
    full = replace(
        message,
        shown=(Message("m3", "user", "\1" * MOST_SHOWN),),
        answer=replace(message.answer, text="\1" * 64_000),
        sent=replace(message.sent, system_prompt="\1" * 64_000),
    )
    choice = Choice("bad", comment="\1" * 4_000, correction="\2" * 16_000)
    assert save_flag(outbox, full, choice).event == next(outbox.events())
