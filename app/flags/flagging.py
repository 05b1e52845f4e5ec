"""Flags at the desk: a click on an answer of the signed transcript becomes an event on disk.

What a flag records of the answer comes from the verified transcript, never from the page: the page names the
message and brings the choice. "Saved" is what `save` returns, and it returns after the commit. What of the
earlier turns is stored, consent decides: feedback/revisions.py.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from threading import Lock
from typing import Any

from app.desk.transcript import Message
from app.flags.consent import Haste, agreed
from app.flags.receipts import Receipts, is_sending
from backtalk import hub
from backtalk.errors import BacktalkError, FlagError
from backtalk.home import has_lasting_secret, home, on_space, secret
from feedback import schema
from feedback.hub.segment import Segments
from feedback.hub.sync import Sync
from feedback.hub.volume import mounted
from feedback.revisions import withdrawal
from feedback.rights.amending import amend_flag, message_of, preview_amendment
from feedback.rights.consenting import flags_given, follow_consent, is_same
from feedback.schema import FlagEvent
from feedback.store.outbox import NAME, Outbox, Receipt
from feedback.store.saving import Choice, FlaggedMessage, preview, save_flag

NO_SECRET = (
    "Flagging is off: this Space has no BACKTALK_SECRET, without which a flag could not be withdrawn later. "
    "Its owner can set one in the Space's settings."
)
PARTS = {
    "verdict", "reasons", "hazards", "severity", "comment", "correction", "consent", "preview_shown",
    "seen_revision",
}  # fmt: skip
MOST_RECEIPTS = 500  # that one request asks for


class Flagging:
    """Saves what visitors say of answers, sends what they agreed to, and tells a page how far it has come."""

    def __init__(self, outbox: Outbox | None, off: FlagError | None = None):
        self._outbox = outbox
        self._off = off or FlagError("Flagging is off.").called("not_kept") if outbox is None else None
        self._receipts = Receipts(outbox) if outbox else None
        self._haste = Haste()
        self._saving = Lock()  # a consent that was read still stands when the event is saved
        self._sync: Sync | None = None

    @staticmethod
    def at_home() -> "Flagging":
        """With the outbox of the state folder; off, with a reason, where flags could not be kept."""
        if not has_lasting_secret():
            return Flagging(None, FlagError(NO_SECRET).called("flagging_off"))
        try:
            outbox = Outbox(home() / NAME)
        except BacktalkError as fault:
            print(f"Flagging is off: {fault}", file=sys.stderr, flush=True)
            return Flagging(None, FlagError(f"Flagging is off: {fault}").called("not_kept"))
        if outbox.notice:
            print(outbox.notice, file=sys.stderr, flush=True)
        return Flagging(outbox)

    def start_sending(self) -> "Flagging":
        """Sends in the background from now on, where a dataset is named, and a token or a volume is there."""
        if self._outbox is not None and is_sending() and (hub.has_token() or mounted()):
            self._sync = Sync(self._outbox).start()
        return self

    @property
    def state(self) -> dict[str, Any]:
        """Whether flags are taken, and if not, why, with the words for it; whether they may leave; whether
        this disk is kept.
        """
        return {
            "allowed": self._outbox is not None,
            "reason": str(self._off or ""),
            **(self._off.words if self._off else {}),
            "sends": is_sending(),
            "kept": not on_space(),
        }

    def save(
        self,
        visitor: str,
        messages: Sequence[Message],
        message_id: str,
        choice: Any,
        extras: schema.Extras | None = None,
    ) -> dict[str, Any]:
        """Saves a choice; says where it is now, once it is on disk. Raises FlagError or OutboxError.

        `extras`: what this server adds to it, such as the answer that stood beside this one. `left`: the
        commit that still holds what a withdrawal took back, until a purge.
        """
        outbox, _ = self._opened()
        message = flagged_message(visitor, messages, message_id)
        said = replace(self._unhurried(message, read_choice(choice)), extras=extras)
        with self._saving:
            return self._told(save_flag(outbox, message, said))

    def amend(self, event: FlagEvent, choice: Any) -> dict[str, Any]:
        """The same for a flag of which only its last event is at hand. Its consent stays, if it has one."""
        outbox, _ = self._opened()
        message = message_of(event)
        said = self._unhurried(message, read_choice(choice))
        with self._saving:
            return self._told(amend_flag(outbox, event, message, said))

    def withdraw(self, event: FlagEvent) -> dict[str, Any]:
        """Takes a flag back of which only its last event is at hand."""
        outbox, _ = self._opened()
        with self._saving:
            return self._told(outbox.save(withdrawal(event)))

    def preview_amendment(self, event: FlagEvent, choice: Any) -> dict[str, Any]:
        """What `amend` would store, as `preview` tells it."""
        outbox, _ = self._opened()
        return _for_preview(preview_amendment(outbox, event, message_of(event), read_choice(choice)))

    def _told(self, receipt: Receipt) -> dict[str, Any]:
        _, receipts = self._opened()
        withdrawn = receipt.event.op == "retract"
        return {
            "saved": receipt.sentence,
            "left": receipts.left_at(receipt.flag_id) if withdrawn else "",
        }

    @property
    def outbox(self) -> Outbox:
        """Where the flags are. Raises FlagError where flagging is off."""
        return self._opened()[0]

    def receipt(self, flag: str) -> dict[str, Any] | None:
        """How far a flag has come; None where there is none of that id."""
        return self._opened()[1].of(flag)

    def preview(
        self, visitor: str, messages: Sequence[Message], message_id: str, choice: Any
    ) -> dict[str, Any]:
        """What `save` would store: every text as it would be written, cut where something was masked."""
        outbox, _ = self._opened()
        message, said = flagged_message(visitor, messages, message_id), read_choice(choice)
        return _for_preview(preview(outbox, message, said))

    def agree(self, visitor: str, messages: Sequence[Message], consent: Any, everywhere: bool = False) -> int:
        """Puts this visitor's flags on these messages under a consent; returns how many flags it changed.

        `everywhere`: their other flags too, but no earlier turns are added to those. Nothing that was said
        changes: each flag gets an amendment that repeats it.
        """
        outbox, _ = self._opened()
        contributor = schema.pseudonym(secret(), visitor)
        said = agreed(consent) or schema.Consent()
        if self._haste.is_over(contributor):
            said = replace(said, training=False)
        with self._saving:
            here = self._flags(visitor, messages)
            if said.scope != schema.THREAD:
                changed = [follow_consent(outbox, event, said) for event in here.values()]
            else:
                changed = [self._add_turns(visitor, messages, event, said) for event in here.values()]
            if everywhere:
                known = {event.flag_id for event in here.values()}
                others = (event for event in flags_given(outbox, contributor) if event.flag_id not in known)
                changed += [follow_consent(outbox, event, said) for event in others]
        return sum(changed)

    def standing(self, visitor: str, messages: Sequence[Message]) -> dict[str, dict[str, Any]]:
        """What this visitor's flags on these messages are, by message, as the panel shows them."""
        return {message: for_panel(event) for message, event in self._flags(visitor, messages).items()}

    def receipts(self, visitor: str, message_ids: Any) -> dict[str, dict[str, Any]]:
        """How far this visitor's flags on these messages have come, by message."""
        if self._receipts is None:
            return {}
        if not isinstance(message_ids, list) or not all(isinstance(name, str) for name in message_ids):
            raise FlagError("The request names no answers. Reload the page.").called("out_of_step")
        contributor = schema.pseudonym(secret(), visitor)
        found = {
            name: self._receipts.of(schema.flag_id(contributor, name)) for name in message_ids[:MOST_RECEIPTS]
        }
        return {name: receipt for name, receipt in found.items() if receipt}

    def numbers(self) -> dict[str, int]:
        """How many flags are here and how many events wait; nothing where flagging is off."""
        if self._outbox is None:
            return {}
        counts, course = self._outbox.counts(), Segments(self._outbox).course()
        waiting = sum(course.waiting.values())
        return {"standing": counts.standing, "unsealed": counts.unsealed, "waiting": waiting}

    def close(self) -> None:
        """Sends what is left, if the Hub answers within ten seconds; the rest goes at the next start."""
        if self._sync is not None:
            self._sync.stop()
        if self._outbox is not None:
            self._outbox.close()

    def _opened(self) -> tuple[Outbox, Receipts]:
        if self._off:
            raise self._off.with_traceback(None)  # that of whoever was told before is not theirs
        assert self._outbox is not None and self._receipts is not None
        return self._outbox, self._receipts

    def _flags(self, visitor: str, messages: Sequence[Message]) -> dict[str, FlagEvent]:
        if self._outbox is None:
            return {}
        answers = [message.id for message in messages if message.role == "assistant"]
        return self._outbox.flags_of(schema.pseudonym(secret(), visitor), answers)

    def _add_turns(
        self, visitor: str, messages: Sequence[Message], event: FlagEvent, said: schema.Consent
    ) -> bool:
        """Puts a flag under a consent that covers the conversation so far, and adds it; False: it was so."""
        outbox, _ = self._opened()
        if is_same(said, event.consent):
            return False
        message = flagged_message(visitor, messages, event.message_id)
        return not save_flag(outbox, message, Choice(verdict=event.verdict, consent=said)).repeated

    def _unhurried(self, message: FlaggedMessage, choice: Choice) -> Choice:
        """The choice, left out of training where its contributor flags faster than anybody reads."""
        contributor = message.contributor.pseudonym
        if choice.retract or not self._haste.in_haste(
            contributor, schema.flag_id(contributor, message.message_id)
        ):
            return choice
        consent = choice.consent
        return replace(choice, consent=consent and replace(consent, training=False))


def flagged_message(visitor: str, messages: Sequence[Message], message_id: str) -> FlaggedMessage:
    """What a flag records of an answer: who, what was shown, what was sent, which model said it and how."""
    place = next((place for place, message in enumerate(messages) if message.id == message_id), None)
    if place is None or messages[place].role != "assistant":
        raise FlagError(
            "This answer is not part of the conversation. Reload the page and flag it again."
        ).called("out_of_step")
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
        sampling=_sampling(answer.sampling),
    )


def _sampling(sampling: Mapping[str, Any]) -> schema.Sampling:
    """What the schema knows of it: the engine may know more."""
    known = {field.name for field in fields(schema.Sampling)}
    return schema.Sampling(**{name: value for name, value in sampling.items() if name in known})


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


def read_choice(choice: Any) -> Choice:
    """A choice as the page sends it; a part that is missing stays as it was."""
    if not isinstance(choice, dict) or not choice.keys() <= PARTS:
        raise FlagError(
            f"A flag has these parts: {', '.join(sorted(PARTS))}. Reload the page and choose again."
        ).called("out_of_step")
    seen = choice.get("seen_revision", 0)
    if isinstance(seen, bool) or not isinstance(seen, int):
        raise FlagError(
            "The revision of this flag is not a whole number. Reload the page and choose again."
        ).called("out_of_step")
    if choice.get("verdict", "") == "":
        return Choice(retract=True, seen_revision=seen)
    return Choice(
        verdict=choice["verdict"],
        reasons=_names(choice["reasons"]) if "reasons" in choice else None,
        hazards=_names(choice["hazards"]) if "hazards" in choice else (),
        severity=choice.get("severity"),
        comment=_that_fits(choice.get("comment"), "comment", schema.LONGEST_COMMENT),
        correction=_that_fits(choice.get("correction"), "correction", schema.LONGEST_CORRECTION),
        consent=agreed(choice.get("consent")),
        preview_shown=choice.get("preview_shown") is True,
        seen_revision=seen,
    )


def _that_fits(text: Any, what: str, longest: int) -> Any:
    """The text, which may be as long as the schema lets it. Raises FlagError for a longer one."""
    if isinstance(text, str) and len(text) > longest:
        raise FlagError(
            f"The {what} has {len(text):,} characters and {longest:,} fit. Please shorten it."
        ).called("too_long", length=len(text), longest=longest)
    return text


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise FlagError(
            "The reasons of this flag are not a list of names. Reload the page and choose again."
        ).called("out_of_step")
    return tuple(value)


def for_panel(event: FlagEvent) -> dict[str, Any]:
    return {
        "flag_id": event.flag_id,
        "revision": event.revision,
        "verdict": event.verdict,
        "reasons": [reason.id for reason in event.reasons],
        "hazards": list(event.hazards),
        "severity": event.severity,
        "comment": event.comment,
        "correction": event.correction.text,
        "scope": event.consent.scope,
        "training": event.consent.training,
        "preview_shown": event.preview_shown,
    }


def _for_preview(event: FlagEvent) -> dict[str, Any]:
    """The texts of an event in the order in which a person reads them; empty ones are left out."""
    *earlier, question = [*event.shown.messages] or [schema.Message()]
    texts = [
        ("comment", event.comment, "comment"),
        ("correction", event.correction.text, "correction.text"),
        ("question", question.content, "shown.messages.content"),
        ("answer", event.answer.text, "answer.text"),
        ("system_prompt", event.sent.system_prompt, "sent.system_prompt"),
        *((message.role, message.content, "shown.messages.content") for message in earlier),
    ]
    return {
        "texts": [
            {"part": part, "pieces": _pieces(text, event, column)} for part, text, column in texts if text
        ],
        "masked": sum(redaction.count for redaction in event.redactions),
        "scope": event.consent.scope,
    }


def _pieces(text: str, event: FlagEvent, column: str) -> list[dict[str, Any]]:
    """The text cut at its masks."""
    kinds = [re.escape(found.kind) for found in event.redactions if found.where == column]
    if not kinds:
        return [{"text": text, "mask": False}]
    parts = re.split(rf"(\[(?:{'|'.join(kinds)})\])", text)
    return [{"text": part, "mask": place % 2 == 1} for place, part in enumerate(parts) if part]
