"""A flag is changed where its conversation is not at hand: its last event says all that stays.

    message = message_of(event)
    amend_flag(outbox, event, message, Choice(verdict="bad", comment="It is 45 days now."))

Promise: nothing that was masked comes back or is forgotten to have been masked; earlier turns are not added.
"""

from dataclasses import replace

from feedback.redact import masked_event
from feedback.revisions import follow, within_consent
from feedback.rights.consenting import reach
from feedback.schema import Consent, FlagEvent, check_rules
from feedback.store.outbox import Outbox, Receipt
from feedback.store.saving import Choice, FlaggedMessage, draft, unchanged

STAYS = ("shown", "sent", "answer")  # columns whose texts are taken over as they are, masks and all


def message_of(event: FlagEvent) -> FlaggedMessage:
    """The flagged answer as the event holds it."""
    return FlaggedMessage(
        contributor=event.contributor,
        conversation_id=event.conversation_id,
        message_id=event.message_id,
        answer=event.answer,
        model=event.model,
        sampling=event.sampling,
        sent=event.sent,
        shown=event.shown.messages,
        parent_message_id=event.parent_message_id,
        sibling_ids=event.sibling_ids,
        turn_index=event.turn_index,
        message_at=event.message_at,
        app_commit=event.app_commit,
    )


def amend_flag(outbox: Outbox, event: FlagEvent, message: FlaggedMessage, choice: Choice) -> Receipt:
    """Saves the choice as the next event of the flag; returns once it is on disk."""
    return outbox.save(_amended(event, message, choice), keep=unchanged(choice))


def preview_amendment(outbox: Outbox, event: FlagEvent, message: FlaggedMessage, choice: Choice) -> FlagEvent:
    """The event as `amend_flag` would store it now; nothing is stored."""
    amended = masked_event(_amended(event, message, choice))
    before = outbox.history(event.flag_id)
    amended = follow(amended, before[-1] if before else None, unchanged(choice))
    check_rules(amended)
    return amended


def _amended(event: FlagEvent, message: FlaggedMessage, choice: Choice) -> FlagEvent:
    masks = tuple(known for known in event.redactions if known.where.split(".")[0] in STAYS)
    return within_consent(
        replace(draft(message, choice), shown=event.shown, redactions=masks, consent=_consent(event, choice))
    )


def _consent(event: FlagEvent, choice: Choice) -> Consent:
    """What was agreed to for this flag; a first consent reaches what the event holds, and no further."""
    if event.consent.scope or choice.consent is None:
        return event.consent
    return reach(choice.consent, event, None)
