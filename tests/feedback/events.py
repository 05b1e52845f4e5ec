"""Flag events for tests, complete and valid, with ids and times that are the same in every run."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from backtalk.files import write_jsonl
from feedback.redact import masked_event
from feedback.revisions import follow
from feedback.schema import (
    Answer,
    Consent,
    Contributor,
    FlagEvent,
    Message,
    Model,
    Sampling,
    Sent,
    new_event_id,
    pseudonym,
    to_row,
)
from feedback.store.saving import Choice, FlaggedMessage, draft

SECRET = b"a secret for tests only"
QUESTION = "How long can I return a tent?"
ANSWER = "You can return items within 30 days."
CORRECTION = "You can return items within 60 days."
OPEN = Consent("1", "flag+thread", True, "CC-BY-4.0", "2026-11-20T00:00:00Z")


def flag(
    who: str = "ann",
    verdict: str = "bad",
    reasons: Sequence[str] = (),
    correction: str = "",
    *,
    question: str = QUESTION,
    answer: str = ANSWER,
    earlier: Sequence[str] = (),
    sent_turns: int | None = None,
    system: str = "",
    conversation: str = "",
    message: str = "",
    consent: Consent = OPEN,
    finish: str = "stop",
    comment: str = "",
    severity: str = "",
    extras: Any = None,
    last: FlagEvent | None = None,
    retract: bool = False,
    round: int = 0,
    locale: str = "",
    message_at: str = "",
) -> FlagEvent:
    """One event. `earlier`: what user and assistant said by turns, `sent_turns` of which were sent."""
    conversation = conversation or f"talk-of-{who}"
    message = message or f"{conversation}-{len(earlier)}-{abs(hash_of(question + answer))}"
    before = [Message(f"{message}-{n}", ("user", "assistant")[n % 2], text) for n, text in enumerate(earlier)]
    asked = Message(f"{message}-q", "user", question)
    sent = before[len(before) - (len(before) if sent_turns is None else sent_turns) :]
    flagged = FlaggedMessage(
        contributor=Contributor(pseudonym(SECRET, who), locale=locale),
        conversation_id=conversation,
        message_id=message,
        message_at=message_at,
        answer=Answer(answer, finish, 12),
        model=Model(name="mini", gguf_sha256="0" * 64, quant="Q8_0", round=round),
        sampling=Sampling(temperature=0.7, seed=7),
        sent=Sent("full", tuple(one.id for one in [*sent, asked]), system_prompt=system),
        shown=[*before, asked],
    )
    choice = Choice(
        verdict,
        tuple(reasons),
        severity=severity,
        comment=comment,
        correction=correction,
        extras=extras,
        consent=consent,
        retract=retract,
    )
    return follow(masked_event(draft(flagged, choice)), last)


def hash_of(text: str) -> int:
    """The same number in every process, which `hash` is not."""
    return int.from_bytes(text.encode()) % 1_000_003


def segment(path: Path, rows: Iterable[Any]) -> Path:
    """A file of events and decisions."""
    write_jsonl(path, (to_row(row) if isinstance(row, FlagEvent) else row for row in rows))
    return path


def again(event: FlagEvent) -> FlagEvent:
    """The event as another of the same flag that follows it."""
    return follow(replace(event, event_id=new_event_id(), revision=0), event)
