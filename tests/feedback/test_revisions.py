"""How events follow each other: the order of arrival does not matter, and consent decides what is kept."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.errors import FlagError
from feedback import schema
from feedback.redact import masked_event
from feedback.revisions import fold, follow, says_the_same
from feedback.schema import Consent, FlagEvent, FlagReason, to_row, validate
from feedback.store.saving import Choice, FlaggedMessage, draft
from feedback.taxonomy import taxonomy

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
SOME = settings(max_examples=25, deadline=None)


def saved(message: FlaggedMessage, choice: Choice, last: FlagEvent | None = None) -> FlagEvent:
    """The event that the outbox would store."""
    return follow(masked_event(draft(message, choice)), last)


@st.composite
def events(draw: st.DrawFn) -> FlagEvent:
    """Valid events of a handful of flags, at any revision."""
    contributor = schema.Contributor(schema.pseudonym(b"a secret for tests", draw(st.sampled_from("ab"))))
    place = draw(st.sampled_from(["m1", "m2"]))
    event = FlagEvent(
        event_id=schema.new_event_id(),
        flag_id=schema.flag_id(contributor.pseudonym, place),
        revision=draw(st.integers(0, 5)),
        created_at=draw(st.sampled_from(["2026-11-20T10:00:00.000Z", "2026-11-20T11:00:00.000Z"])),
        contributor=contributor,
        conversation_id="c1",
        message_id=place,
    )
    if draw(st.integers(0, 4)) == 0:
        return follow(replace(event, op="retract", revision=max(1, event.revision)), None)
    verdict = draw(st.sampled_from(schema.VERDICTS))
    reasons = draw(st.lists(st.sampled_from(taxonomy().offered(verdict)), max_size=4, unique=True))
    chosen = tuple(FlagReason(reason.id, reason.direction) for reason in reasons if not reason.needs_comment)
    floats = st.floats(0, 100, allow_nan=False)
    return follow(
        replace(
            event,
            verdict=verdict,
            reasons=chosen,
            severity=draw(st.sampled_from(schema.SEVERITIES)),
            comment=draw(TEXTS),
            answer=schema.Answer(draw(TEXTS), "stop", draw(st.integers(0, 999)), first_token_ms=draw(floats)),
            shown=schema.Shown((schema.Message("q1", "user", draw(TEXTS)),), draw(st.integers(0, 9))),
            sampling=schema.Sampling(draw(floats), seed=draw(st.integers(-1, 2**32))),
            extras=schema.Extras(draw(st.integers(0, 5)), draw(TEXTS), (schema.Span(1, 2, draw(TEXTS)),)),
        ),
        None,
    )


@SOME
@given(st.lists(events(), max_size=8), st.randoms())
def test_the_order_of_arrival_does_not_change_the_state(arrived: list[FlagEvent], chance: Any) -> None:
    shuffled = arrived[:]
    chance.shuffle(shuffled)
    assert list(fold(shuffled).items()) == list(fold(arrived).items())
    assert fold([*shuffled, *arrived]) == fold(arrived)


@SOME
@given(st.lists(events(), max_size=8))
def test_the_highest_revision_stands(arrived: list[FlagEvent]) -> None:
    for name, state in fold(arrived).items():
        assert state.revision == max(event.revision for event in arrived if event.flag_id == name)


def test_a_retraction_removes_the_flag_until_a_new_vote(message: FlaggedMessage) -> None:
    vote = saved(message, Choice("bad", comment="No."))
    withdrawn = saved(message, Choice(retract=True), vote)
    again = saved(message, Choice("good"), withdrawn)
    assert fold([withdrawn, vote]) == {}
    assert fold([again, withdrawn, vote]) == {vote.flag_id: again}
    assert [event.op for event in (vote, withdrawn, again)] == ["create", "retract", "create"]


def test_a_retraction_wins_over_a_vote_of_the_same_revision(message: FlaggedMessage) -> None:
    vote = saved(message, Choice("bad"))
    here, there = saved(message, Choice("good"), vote), saved(message, Choice(retract=True), vote)
    assert here.revision == there.revision
    assert fold([vote, there, here]) == fold([here, vote, there]) == {}


def test_a_retraction_keeps_no_text(message: FlaggedMessage) -> None:
    vote = saved(message, Choice("bad", comment="No.", correction="45 days."))
    row = json.dumps(to_row(saved(message, Choice(retract=True), vote)))
    for text in (vote.comment, vote.correction.text, vote.answer.text, vote.sent.system_prompt):
        assert text and text not in row


def test_a_flag_that_never_was_cannot_be_withdrawn(message: FlaggedMessage) -> None:
    with pytest.raises(FlagError, match="nothing to withdraw"):
        saved(message, Choice(retract=True))


def test_repeats_are_told_apart_from_changes(message: FlaggedMessage) -> None:
    once = saved(message, Choice("bad", comment="No."))
    twice = saved(message, Choice("bad", comment="No."), once)
    assert says_the_same(once, twice)
    assert not says_the_same(once, saved(message, Choice("bad", comment="Yes."), once))


def test_consent_for_the_flag_alone_keeps_the_earlier_turns_out(message: FlaggedMessage) -> None:
    earlier = schema.Message("m1", "user", "My mail is ann@example.org, my other one bob@example.org.")
    question = replace(message.shown[2], content="Did you write to ann@example.org?")
    sent = replace(message.sent, message_ids=("m1", "m3"))
    told = replace(message, shown=(earlier, message.shown[1], question), sent=sent)
    consent = Consent("1", "flag_only", True, "", "2026-11-20T10:00:00Z")
    event = saved(told, Choice("bad", consent=consent))
    validate(event)
    assert [kept.id for kept in event.shown.messages] == ["m3"] and event.shown.omitted == 2
    assert event.sent.message_ids == ("m1", "m3") and event.sent.prompt_sha256 == ""
    assert [(found.where, found.count) for found in event.redactions] == [("shown.messages.content", 1)]
    whole = saved(told, Choice("bad", consent=replace(consent, scope="flag+thread")), event)
    assert len(whole.shown.messages) == 3 and whole.sent.prompt_sha256 and whole.revision == 2


def test_a_question_that_was_sent_alone_keeps_its_hash(message: FlaggedMessage) -> None:
    consent = Consent("1", "flag_only", True, "", "2026-11-20T10:00:00Z")
    assert saved(message, Choice("bad", consent=consent)).sent.prompt_sha256
