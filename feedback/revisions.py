"""How the events of a flag follow each other, and the state that they fold into.

    fold(events)                      flag_id -> the event that stands
    follow(draft, last, keep)         the draft as the event after `last`
    numbered(draft, last, keep)       the same, its hash still to be taken
    withdrawal(last)                  what takes the flag back, without a text

The highest revision wins, in whatever order events arrive; `retract` removes. `flag_id` follows from
contributor and message, so a second vote amends and never accumulates.
"""

from collections.abc import Iterable
from dataclasses import fields, replace
from functools import partial

from backtalk.errors import FlagError
from feedback.schema import THREAD, FlagEvent, Message, Redaction, Shown, content_hash, new_event_id, now

KEPT = (  # by a withdrawal: whose flag it was, on what; nothing that anybody wrote
    "app_version", "app_commit", "flag_id", "revision", "consent", "contributor", "conversation_id",
    "turn_index", "message_id", "parent_message_id", "sibling_ids", "message_at", "model", "sampling",
)  # fmt: skip


def fold(events: Iterable[FlagEvent]) -> dict[str, FlagEvent]:
    """The flags that stand, by id: the same in whatever order the events arrive."""
    newest: dict[str, FlagEvent] = {}
    for event in events:
        known = newest.get(event.flag_id)
        if known is None or rank(event) > rank(known):
            newest[event.flag_id] = event
    return {name: newest[name] for name in sorted(newest) if newest[name].op != "retract"}


def rank(event: FlagEvent) -> tuple[int, bool, str, str]:
    """What to compare events of one flag by: the highest stands."""
    # Two replicas can give the same revision: then a retraction wins, else the later event.
    return event.revision, event.op == "retract", event.created_at, event.event_id


def follow(draft: FlagEvent, last: FlagEvent | None, keep: Iterable[str] = ()) -> FlagEvent:
    """The draft as the event after `last`, hashed: see `numbered`."""
    event = numbered(draft, last, keep)
    return replace(event, content_hash=content_hash(event))


def numbered(draft: FlagEvent, last: FlagEvent | None, keep: Iterable[str] = ()) -> FlagEvent:
    """The draft as the event after `last`: numbered, with the columns in `keep` taken from `last`, unhashed.

    Consent is the visitor's and stays; the rest stays only while the verdict does: a comment dies with the
    vote that it belonged to.
    """
    if draft.op == "retract" and last is None and not draft.revision:
        raise FlagError("There is no flag on this answer, so there is nothing to withdraw.").called(
            "unknown_flag"
        )
    stands = last is not None and last.op != "retract"
    event = _carry_over(draft, last, keep) if last else draft
    op = "retract" if draft.op == "retract" else "amend" if stands else "create"
    revision = max(draft.revision, last.revision if last else 0) + 1
    return within_consent(replace(event, revision=revision, op=op, content_hash=""))


def withdrawal(last: FlagEvent) -> FlagEvent:
    """The event that withdraws the flag whose last event this is."""
    bare = FlagEvent(op="retract", event_id=new_event_id(), created_at=now())
    return replace(bare, **{name: getattr(last, name) for name in KEPT})


def _carry_over(event: FlagEvent, last: FlagEvent, keep: Iterable[str]) -> FlagEvent:
    same_vote = event.op != "retract" and event.verdict == last.verdict
    kept = [name for name in keep if same_vote or name == "consent"]

    def came_with(redaction: Redaction) -> bool:
        return redaction.where.split(".")[0] in kept

    fresh = [redaction for redaction in event.redactions if not came_with(redaction)]
    carried = [redaction for redaction in last.redactions if came_with(redaction)]
    redactions = sorted(fresh + carried, key=lambda redaction: (redaction.where, redaction.kind))
    return replace(event, **{name: getattr(last, name) for name in kept}, redactions=tuple(redactions))


def within_consent(event: FlagEvent) -> FlagEvent:
    """Without the earlier turns where consent does not cover them: their ids and their number are recorded.

    So what is stored may be sent as it is, and of a visitor who was not asked yet, nothing but the question
    and the answer is written down.
    """
    shown = event.shown
    if event.consent.scope == THREAD or len(shown.messages) < 2:
        return event
    question = shown.messages[-1]
    whole = all(name == question.id for name in event.sent.message_ids)
    return replace(
        event,
        shown=Shown((question,), shown.omitted + len(shown.messages) - 1),
        sent=event.sent if whole else replace(event.sent, prompt_sha256=""),
        redactions=tuple(
            found for found in map(partial(_left_in, question), event.redactions) if found.count
        ),
    )


def _left_in(question: Message, redaction: Redaction) -> Redaction:
    """What was masked in the messages shown, counted in the only one that is kept."""
    if redaction.where != "shown.messages.content":
        return redaction
    return replace(redaction, count=question.content.count(f"[{redaction.kind}]"))


def says_the_same(event: FlagEvent, other: FlagEvent) -> bool:
    """True where only the numbering of two events differs: a repeated click."""
    if event.op == other.op == "retract":
        return True
    numbering = ("event_id", "revision", "op", "created_at", "time_to_flag_ms", "content_hash")
    return all(
        getattr(event, part.name) == getattr(other, part.name)
        for part in fields(FlagEvent)
        if part.name not in numbering
    )
