"""A candidate: what curation needs of a flag event, and whether the event alone already keeps it out.

    candidate = Candidate.of(event, controls)
    candidate.fault           "" or why it cannot teach anything, such as "no_consent"

It holds the turns that were really sent, and keys under which equal texts meet: `item` is system prompt and
turns, `prompt` the turns alone. Texts of a candidate with a fault are not kept.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from feedback.curate.similar import normalised
from feedback.redact import mask
from feedback.schema import FlagEvent
from feedback.store.decisions import matter_of
from feedback.taxonomy import taxonomy

Turn = tuple[str, str]  # role, content

FINISHED = "stop"  # the answer came to its own end


class Candidate(NamedTuple):
    """One flag event on its way into a curated set; a tuple: there are many, and they cross processes."""

    event_id: str
    flag_id: str
    revision: int
    op: str
    created_at: str
    content_hash: str
    contributor: str
    conversation: str
    message: str
    verdict: str
    reasons: tuple[str, ...]
    matter: str
    model: str
    round: int
    locale: str
    choice: str = ""  # between this answer and another one beside it
    position: str = ""  # where this one stood, a or b
    other_message: str = ""
    fault: str = ""
    system: str = ""
    turns: tuple[Turn, ...] = ()
    answer: str = ""
    correction: str = ""
    finished: bool = False
    answer_masked: bool = False
    correction_masked: bool = False
    all_was_sent: bool = False  # there were earlier turns, and every one of them was in what was sent
    prompt_key: bytes = b""
    item_key: bytes = b""
    answer_key: bytes = b""
    correction_key: bytes = b""

    @property
    def rank(self) -> tuple[int, bool, str, str, str]:
        """The highest stands, as in `revisions.fold`."""
        return self.revision, self.op == "retract", self.created_at, self.event_id, self.content_hash

    @staticmethod
    def of(event: FlagEvent, controls: re.Pattern[str]) -> "Candidate":
        """The candidate of an event; `controls` finds control tokens."""
        bare = _bare(event)
        fault = _fault_of_flag(event) or _fault_of_context(event)
        if fault:
            return bare._replace(fault=fault)
        whole = _with_texts(bare, event)
        return bare._replace(fault=fault) if (fault := _fault_of_texts(whole, controls)) else whole


def key(*texts: str) -> bytes:
    """Equal for texts that are equal but for spelling."""
    digest = blake2b(digest_size=16)
    for text in texts:
        digest.update(normalised(text).encode() + b"\0")
    return digest.digest()


def item_of(event: FlagEvent) -> bytes:
    """What was asked: equal for events with the same system prompt and turns."""
    return key(event.sent.system_prompt, *_spoken(_turns(event)))


def _bare(event: FlagEvent) -> Candidate:
    return Candidate(
        event_id=event.event_id,
        flag_id=event.flag_id,
        revision=event.revision,
        op=event.op,
        created_at=event.created_at,
        content_hash=event.content_hash,
        contributor=event.contributor.pseudonym,
        conversation=event.conversation_id,
        message=event.message_id,
        verdict=event.verdict,
        reasons=tuple(sorted(reason.id for reason in event.reasons)),
        matter=matter_of(event),
        model=event.model.name,
        round=event.model.round,
        locale=event.contributor.locale,
        choice=event.extras.comparison.choice,
        position=event.extras.comparison.position,
        other_message=event.extras.comparison.other_message_id,
    )


def _fault_of_flag(event: FlagEvent) -> str:
    if event.op == "retract":
        return "retracted"
    if not event.consent.scope:
        return "no_consent"
    if not event.consent.training:
        return "not_for_training"
    return "safety" if event.blocked else _fault_of_reasons(event)


def _fault_of_reasons(event: FlagEvent) -> str:
    """Reasons that say nothing about the model are left aside; a flag that has no others is left out."""
    known = [taxonomy().reason(reason.id) for reason in event.reasons]
    asides = {reason.route.aside for reason in known}
    if asides & {"quarantine", "block", "review"}:
        return "safety"
    if any(reason.direction == "meta" and not reason.needs_comment for reason in known):
        return "meta"  # "my question was the problem" and "just testing" take back the rest
    if known and "" not in asides:
        return "system" if "system" in asides else "meta"
    return ""


def _fault_of_context(event: FlagEvent) -> str:
    """Without the turns that the model was given, a row would teach another question than was asked."""
    if event.consent.scope == "flag_only" and len(event.sent.message_ids) > 1:
        return "context_withheld"
    shown = {message.id: message for message in event.shown.messages}
    sent = [shown.get(name) for name in event.sent.message_ids]
    if not sent or None in sent or sent[-1].role != "user":  # type: ignore[union-attr]
        return "context_missing"
    return "" if event.answer.text.strip() else "no_answer"


def _with_texts(bare: Candidate, event: FlagEvent) -> Candidate:
    turns = _turns(event)
    spoken = _spoken(turns)
    masked = {redaction.where for redaction in event.redactions}
    return bare._replace(
        system=event.sent.system_prompt,
        turns=turns,
        answer=event.answer.text,
        correction=event.correction.text.strip(),
        finished=event.answer.finish_reason == FINISHED,
        answer_masked="answer.text" in masked,
        correction_masked="correction.text" in masked,
        all_was_sent=_all_was_sent(event),
        prompt_key=key(*spoken),
        item_key=key(event.sent.system_prompt, *spoken),
        answer_key=key(event.answer.text),
        correction_key=key(event.correction.text) if event.correction.text.strip() else b"",
    )


def _turns(event: FlagEvent) -> tuple[Turn, ...]:
    """The turns that were sent, as far as they are kept."""
    shown = {message.id: message for message in event.shown.messages}
    sent = (shown[name] for name in event.sent.message_ids if name in shown)
    return tuple((message.role, message.content) for message in sent)


def _spoken(turns: Sequence[Turn]) -> list[str]:
    return [f"{role}: {content}" for role, content in turns]


def _all_was_sent(event: FlagEvent) -> bool:
    earlier = [message.id for message in event.shown.messages[:-1]]
    return bool(earlier) and not event.shown.omitted and set(earlier) <= set(event.sent.message_ids)


def _fault_of_texts(candidate: Candidate, controls: re.Pattern[str]) -> str:
    texts = [candidate.system, *(content for _, content in candidate.turns)]
    texts += [candidate.answer, candidate.correction]
    return fault_of_texts(texts, controls)


def fault_of_texts(texts: Sequence[str], controls: re.Pattern[str]) -> str:
    """Why these texts may not be trained on; empty where they may."""
    if any(controls.search(text) for text in texts):
        return "control_tokens"
    if any(_holds_personal_data(text) for text in texts):
        return "personal_data"
    return ""


@lru_cache(maxsize=4096)
def _holds_personal_data(text: str) -> bool:
    """Masked once more: an event may have been written by a version that knew fewer kinds."""
    return bool(mask(text).redactions)
