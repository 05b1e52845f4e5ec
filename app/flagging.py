"""Flags at the desk: a click on an answer of the signed transcript becomes an event on disk.

What a flag records of the answer comes from the verified transcript, never from the page: the page names the
message and brings the choice. "Saved" is what `save` returns, and it returns after the commit.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from app.transcript import Message
from backtalk.errors import BacktalkError, FlagError
from backtalk.home import has_lasting_secret, home, secret
from feedback import schema
from feedback.outbox import NAME, Outbox
from feedback.saving import Choice, FlaggedMessage, save_flag
from feedback.schema import FlagEvent

NO_SECRET = (
    "Flagging is off: this Space has no BACKTALK_SECRET, without which a flag could not be withdrawn later. "
    "Its owner can set one in the Space's settings."
)
PARTS = {"verdict", "reasons", "hazards", "severity", "comment", "correction", "seen_revision"}


class Flagging:
    """Saves what visitors say of answers, and tells a page what they have said."""

    def __init__(self, outbox: Outbox | None, reason: str = ""):
        self._outbox = outbox
        self._reason = reason

    @staticmethod
    def at_home() -> "Flagging":
        """With the outbox of the state folder; off, with a reason, where flags could not be kept."""
        if not has_lasting_secret():
            return Flagging(None, NO_SECRET)
        try:
            outbox = Outbox(home() / NAME)
        except BacktalkError as fault:
            return Flagging(None, f"Flagging is off: {fault}")
        if outbox.notice:
            print(outbox.notice, file=sys.stderr, flush=True)
        return Flagging(outbox)

    @property
    def allowed(self) -> tuple[bool, str]:
        """Whether flags are taken, and if not, why."""
        return self._outbox is not None, self._reason

    def save(self, visitor: str, messages: Sequence[Message], message_id: str, choice: Any) -> str:
        """Saves a choice and says where it is now, once it is on disk. Raises FlagError or OutboxError."""
        if self._outbox is None:
            raise FlagError(self._reason)
        message = flagged_message(visitor, messages, message_id)
        return save_flag(self._outbox, message, _choice(choice)).sentence

    def standing(self, visitor: str, messages: Sequence[Message]) -> dict[str, dict[str, Any]]:
        """What this visitor's flags on these messages are, by message, as the panel shows them."""
        if self._outbox is None:
            return {}
        answers = [message.id for message in messages if message.role == "assistant"]
        flags = self._outbox.flags_of(schema.pseudonym(secret(), visitor), answers)
        return {message: _for_panel(event) for message, event in flags.items()}

    def close(self) -> None:
        if self._outbox is not None:
            self._outbox.close()


def flagged_message(visitor: str, messages: Sequence[Message], message_id: str) -> FlaggedMessage:
    """What a flag records of an answer: who, what was shown, what was sent, which model said it and how."""
    place = next((place for place, message in enumerate(messages) if message.id == message_id), None)
    if place is None or messages[place].role != "assistant":
        raise FlagError("This answer is not part of the conversation. Reload the page and flag it again.")
    answer = messages[place]
    return FlaggedMessage(
        contributor=schema.Contributor(schema.pseudonym(secret(), visitor)),
        conversation_id=answer.conversation,
        message_id=answer.id,
        parent_message_id=answer.parent,
        sibling_ids=tuple(answer.sent["siblings"]),
        turn_index=sum(message.role == "user" for message in messages[:place]) - 1,
        message_at=answer.at,
        shown=[schema.Message(message.id, message.role, message.text) for message in messages[:place]],
        sent=_sent(answer.sent),
        answer=_answer(answer),
        model=schema.Model(**answer.model),
        sampling=schema.Sampling(**answer.sampling),
    )


def _sent(sent: Mapping[str, Any]) -> schema.Sent:
    return schema.Sent(
        history_mode=sent["history_mode"],
        message_ids=tuple(sent["message_ids"]),
        truncated_turns=sent["truncated_turns"],
        prompt_tokens=sent["prompt_tokens"],
        system_prompt=sent["system_prompt"],
    )


def _answer(answer: Message) -> schema.Answer:
    ending = answer.ending
    return schema.Answer(
        text=answer.text,
        finish_reason=ending["finish_reason"],
        completion_tokens=ending["completion_tokens"],
        stopped_by_user=ending["finish_reason"] == "cancelled",
        first_token_ms=round(ending["first_token_ms"]),
        tokens_per_second=float(ending["tokens_per_second"]),
    )


def _choice(choice: Any) -> Choice:
    """A choice as the page sends it; a part that is missing stays as it was."""
    if not isinstance(choice, dict) or not choice.keys() <= PARTS:
        raise FlagError(
            f"A flag has these parts: {', '.join(sorted(PARTS))}. Reload the page and choose again."
        )
    if choice.get("verdict", "") == "":
        return Choice(retract=True)
    seen = choice.get("seen_revision", 0)
    if isinstance(seen, bool) or not isinstance(seen, int):
        raise FlagError("The revision of this flag is not a whole number. Reload the page and choose again.")
    return Choice(
        verdict=choice["verdict"],
        reasons=_names(choice["reasons"]) if "reasons" in choice else None,
        hazards=_names(choice["hazards"]) if "hazards" in choice else (),
        severity=choice.get("severity"),
        comment=choice.get("comment"),
        correction=choice.get("correction"),
        seen_revision=seen,
    )


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise FlagError("The reasons of this flag are not a list of names. Reload the page and choose again.")
    return tuple(value)


def _for_panel(event: FlagEvent) -> dict[str, Any]:
    return {
        "flag_id": event.flag_id,
        "revision": event.revision,
        "verdict": event.verdict,
        "reasons": [reason.id for reason in event.reasons],
        "hazards": list(event.hazards),
        "severity": event.severity,
        "comment": event.comment,
        "correction": event.correction.text,
    }
