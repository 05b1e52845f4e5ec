"""From a click to a flag on disk: what the app knows of an answer, what the contributor chose, one receipt.

    message = FlaggedMessage(contributor=..., conversation_id=..., message_id=..., answer=..., model=..., ...)
    save_flag(outbox, message, Choice(verdict="bad"))                             the first click counts
    save_flag(outbox, message, Choice(verdict="bad", reasons=("outdated",), comment="It is 45 days now."))
    save_flag(outbox, message, Choice(retract=True))                              un-clicked
    preview(outbox, message, choice)                    what save_flag would write, for the contributor to see

A part of the choice that is None stays as it was, as long as the verdict does. Texts arrive as they were
typed; the outbox masks them before anything is written.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from backtalk import __version__
from backtalk.errors import FlagError
from feedback.redact import masked_event
from feedback.revisions import follow, within_consent
from feedback.schema import (
    MOST_MESSAGES,
    MOST_REVISIONS,
    MOST_SHOWN,
    Answer,
    Consent,
    Contributor,
    Correction,
    Extras,
    FlagEvent,
    FlagReason,
    Message,
    Model,
    Sampling,
    Sent,
    Shown,
    check_rules,
    flag_id,
    new_event_id,
    now,
)
from feedback.store.outbox import Outbox, Receipt
from feedback.taxonomy import taxonomy

STILL_AN_EDIT = 0.5  # share of words changed up to which a correction is an edit of the answer
MANY_AN_HOUR = 30  # flags of one contributor: more are saved, and not trained on without a second look


@dataclass(frozen=True)
class FlaggedMessage:
    """Everything about an answer that a flag records; `shown` is what stood above it, the question last.

    What of it is kept, consent decides (feedback/revisions.py).
    """

    contributor: Contributor
    conversation_id: str
    message_id: str
    answer: Answer
    model: Model
    sampling: Sampling
    sent: Sent
    shown: Sequence[Message] = ()
    parent_message_id: str = ""
    sibling_ids: tuple[str, ...] = ()
    turn_index: int = 0
    message_at: str = ""
    app_commit: str = ""


@dataclass(frozen=True)
class Choice:
    """What the contributor chose; None leaves that part as it was.

    `hazards` specify the reason "harmful"; reasons that name one hazard bring it along. `seen_revision` is
    the newest revision that the visitor's browser has a receipt for: a replica with a fresh disk counts on
    from it.
    """

    verdict: str = ""
    reasons: tuple[str, ...] | None = None
    hazards: tuple[str, ...] = ()
    severity: str | None = None
    comment: str | None = None
    correction: str | None = None
    extras: Extras | None = None
    consent: Consent | None = None
    preview_shown: bool = False
    retract: bool = False
    seen_revision: int = 0


def save_flag(outbox: Outbox, message: FlaggedMessage, choice: Choice) -> Receipt:
    """Saves the choice as the next event of the flag; returns once it is on disk."""
    return outbox.save(_covered(outbox, message, choice), keep=unchanged(choice))


def preview(outbox: Outbox, message: FlaggedMessage, choice: Choice) -> FlagEvent:
    """The event as `save_flag` would store it now, masked and within its consent; nothing is stored."""
    event = masked_event(_covered(outbox, message, choice))
    before = outbox.history(event.flag_id)
    event = follow(event, before[-1] if before else None, unchanged(choice))
    check_rules(event)
    return event


def unchanged(choice: Choice) -> tuple[str, ...]:
    """The columns that the choice leaves as they were."""
    parts = ("severity", "comment", "correction", "extras", "consent")
    kept = [name for name in parts if getattr(choice, name) is None]
    if choice.reasons is None:
        kept += ["reasons", "hazards", "blocked"]
    if choice.comment is choice.correction is choice.extras is None and not choice.preview_shown:
        kept += ["preview_shown"]
    return tuple(kept)


def draft(message: FlaggedMessage, choice: Choice) -> FlagEvent:
    """The event that the choice asks for, without its revision: the outbox gives it."""
    _check(choice)
    event = _identity(message, choice)
    if choice.retract:
        return replace(event, op="retract")
    reasons = tuple(_reason(name) for name in choice.reasons or ())
    return replace(
        event,
        shown=_newest(message.shown),
        sent=message.sent,
        answer=message.answer,
        verdict=choice.verdict,
        severity=choice.severity or "",
        reasons=reasons,
        hazards=_hazards(reasons, choice.hazards),
        comment=choice.comment or "",
        correction=_correction(choice.correction or "", message.answer.text),
        blocked=any(taxonomy().reason(reason.id).route.aside == "block" for reason in reasons),
        preview_shown=choice.preview_shown,
        extras=choice.extras or Extras(),
    )


def _covered(outbox: Outbox, message: FlaggedMessage, choice: Choice) -> FlagEvent:
    """The draft under the consent that it will have: nobody waits for the masking of what is left out."""
    event = draft(message, choice)
    if choice.consent is None and len(event.shown.messages) > 1:
        before = outbox.history(event.flag_id)
        event = replace(event, consent=before[-1].consent if before else Consent())
    return within_consent(event)


def _check(choice: Choice) -> None:
    """What a page can send wrongly before there is an event that can be checked as a whole."""
    texts = [choice.verdict, choice.severity or "", choice.comment or "", choice.correction or ""]
    for names in (choice.reasons or (), choice.hazards):
        texts += names if isinstance(names, tuple | list) else [names]
    if not all(isinstance(text, str) for text in texts):
        raise FlagError("A part of this flag is not text. Reload the page and choose again.").called(
            "out_of_step"
        )
    if choice.hazards and choice.reasons is None:
        raise FlagError(
            "A kind of harm was given without a reason. Choose the reason that it belongs to."
        ).called("out_of_step")
    if type(choice.seen_revision) is not int or not 0 <= choice.seen_revision < MOST_REVISIONS:
        raise FlagError("The revision of this flag is no revision. Reload the page and choose again.").called(
            "out_of_step"
        )


def _identity(message: FlaggedMessage, choice: Choice) -> FlagEvent:
    created_at = now()
    return FlagEvent(
        app_version=__version__,
        app_commit=message.app_commit,
        event_id=new_event_id(),
        flag_id=flag_id(message.contributor.pseudonym, message.message_id),
        revision=choice.seen_revision,
        created_at=created_at,
        message_at=message.message_at,
        time_to_flag_ms=_milliseconds(message.message_at, created_at),
        consent=choice.consent or Consent(),
        contributor=message.contributor,
        conversation_id=message.conversation_id,
        turn_index=message.turn_index,
        message_id=message.message_id,
        parent_message_id=message.parent_message_id,
        sibling_ids=message.sibling_ids,
        model=message.model,
        sampling=message.sampling,
    )


def _reason(name: str) -> FlagReason:
    known = taxonomy().by_id.get(name)
    if known is None or known.archived:
        raise FlagError(
            f"There is no reason {str(name)[:60]!r} to choose. Reload the page and choose again."
        ).called("out_of_step")
    return FlagReason(known.id, known.direction)


def _hazards(reasons: Sequence[FlagReason], chosen: Sequence[str]) -> tuple[str, ...]:
    implied = [hazard for reason in reasons for hazard in _sole_hazard(reason.id)]
    return tuple(sorted({*implied, *chosen}, key=lambda hazard: (len(hazard), hazard)))


def _sole_hazard(reason: str) -> tuple[str, ...]:
    hazards = taxonomy().reason(reason).hazards
    return hazards if len(hazards) == 1 else ()


def _correction(corrected: str, answer: str) -> Correction:
    """A prefilled box that nobody touched is no correction."""
    if corrected.strip() in ("", answer.strip()):
        return Correction()
    changed = _share_changed(answer.split(), corrected.split())
    return Correction(corrected, "edit" if changed <= STILL_AN_EDIT else "rewrite", changed)


def _share_changed(before: Sequence[str], after: Sequence[str]) -> float:
    """The share of words that are not common to both, by count; an exact diff can take seconds here."""
    common = sum((Counter(before) & Counter(after)).values())
    return round(1 - 2 * common / max(1, len(before) + len(after)), 4)


def _newest(shown: Sequence[Message]) -> Shown:
    """The newest messages that an event has room for; a long conversation can be flagged too."""
    kept: list[Message] = []
    room = MOST_SHOWN
    for message in reversed(shown):
        room -= len(message.content)
        if room < 0 or len(kept) == MOST_MESSAGES:
            break
        kept.append(message)
    return Shown(tuple(reversed(kept)), omitted=len(shown) - len(kept))


def _milliseconds(earlier: str, later: str) -> int:
    try:
        between = datetime.fromisoformat(later) - datetime.fromisoformat(earlier)
    except (ValueError, TypeError):
        return 0
    return max(0, round(between.total_seconds() * 1000))
