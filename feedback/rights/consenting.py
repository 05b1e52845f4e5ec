"""A contributor says anew what may leave: the flags that they gave before follow, each by one more event.

    for event in flags_given(outbox, contributor):
        follow_consent(outbox, event, said)

Promise: nothing is added to what a flag holds; earlier turns that the new consent leaves out are not in the
new event. What was not sealed yet is sealed as the new event allows (feedback/hub/segment.py), and what was
sealed is amended by it. Whoever now keeps everything here cannot call back what was sent: it is marked as
not for training.
"""

from dataclasses import replace

from feedback.schema import FLAG_ONLY, HERE, THREAD, Consent, FlagEvent, new_event_id, now
from feedback.store.outbox import Outbox


def flags_given(outbox: Outbox, contributor: str) -> list[FlagEvent]:
    """The events that stand for the flags of a contributor, in whatever conversation."""
    with outbox.transaction() as connection:
        named = connection.execute(
            "SELECT DISTINCT flag_id FROM events WHERE instr(row, ?)",  # canonical JSON: no spaces, and a
            (f'"pseudonym":"{contributor}"',),  # quotation mark within a text is written as \"
        ).fetchall()
    found = (outbox.current(name) for (name,) in named)
    return [event for event in found if event and event.contributor.pseudonym == contributor]


def follow_consent(outbox: Outbox, event: FlagEvent, said: Consent) -> bool:
    """Puts a flag under what its contributor says now, as far as that reaches it; False: nothing changes."""
    consent = reach(said, event, _sealed_consent(outbox, event.flag_id))
    if is_same(consent, event.consent):
        return False
    outbox.save(_under(event, consent))
    return True


def reach(said: Consent, event: FlagEvent, sealed: Consent | None) -> Consent:
    """What a new consent comes to for a flag; `sealed`: the one under which it was sent, if it was."""
    if said.scope == HERE and sealed:
        return replace(sealed, scope=FLAG_ONLY, training=False, at=now())
    if said.scope == THREAD and event.consent.scope != THREAD:
        return replace(said, scope=FLAG_ONLY)
    return said


def is_same(consent: Consent, other: Consent) -> bool:
    """True where two consents differ at most in when they were given."""
    return replace(consent, at="") == replace(other, at="")


def _under(event: FlagEvent, consent: Consent) -> FlagEvent:
    """A draft that repeats the event under another consent; saving it leaves out what that does not cover."""
    return replace(event, event_id=new_event_id(), created_at=now(), revision=0, consent=consent)


def _sealed_consent(outbox: Outbox, flag: str) -> Consent | None:
    """The consent of the newest event of the flag that is in a segment: that one was sent, or will be."""
    with outbox.transaction() as connection:
        sealed = {
            name
            for (name,) in connection.execute(
                "SELECT event_id FROM events JOIN placed USING (event_id) WHERE flag_id = ?", (flag,)
            )
        }
    consents = [event.consent for event in outbox.history(flag) if event.event_id in sealed]
    return consents[-1] if consents else None
