"""The flag event `flag/1`: every column, what each may hold, and its row.

An event is a snapshot: it says how one contributor sees one answer from now on. How events follow each other
and fold into a state is in feedback/revisions.py. Texts are masked before an event is written
(feedback/redact.py), and every hash is of masked text. docs/contracts.md explains the columns to a reader of
the dataset.

    event = draft(...)               feedback/store/saving.py, from what the app knows
    receipt = outbox.save(event)     feedback/store/outbox.py: masked, numbered, on disk
    from_row(line) == event          strict: what breaks the schema is refused with a reason
"""

import hashlib
import hmac
import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backtalk.errors import FlagError
from backtalk.files import canonical_json
from feedback import columns as column
from feedback.columns import MOST_FAULTS, clean, map_texts, plain, read, spell_out_moments
from feedback.taxonomy import DIRECTIONS, FITTING, VERSION, taxonomy

FORMAT = "flag/1"
NAMESPACE = uuid.UUID("6b1c3a52-7d0e-5f43-9a86-2f4c0d1e8b97")  # never change it: flags would double

MOST_REASONS = 4
MOST_REVISIONS = 1_000_000
MOST_MESSAGES = 2_000  # of a conversation that an event keeps; Shown.omitted counts the earlier ones
MOST_SHOWN = 512_000  # characters of these messages together
LONGEST_ANSWER = 64_000
LONGEST_COMMENT = 4_000
LONGEST_CORRECTION = 16_000
LONGEST_ROW = 8_000_000  # of one JSON line: more than all limits together can make

OPS = ("create", "amend", "retract")
VERDICTS = ("good", "bad", "mixed")
SEVERITIES = ("", "minor", "major", "critical")
HISTORY_MODES = ("", "full", "last_n", "off")
SCOPES = HERE, FLAG_ONLY, THREAD = "", "flag_only", "flag+thread"  # how much of a flag may leave


@dataclass(frozen=True, slots=True)
class Consent:
    """What may leave this machine. An empty scope is no consent: the event stays here, unsealed."""

    version: str = column.text(40, name=True)
    scope: str = column.text(20, one_of=SCOPES)
    training: bool = False
    license: str = column.text(40, name=True)
    at: str = column.text(40, name=True)


@dataclass(frozen=True, slots=True)
class Contributor:
    """Who flagged: a keyed pseudonym, never a name or an address."""

    pseudonym: str = column.text(64, name=True)
    kind: str = column.text(20, one_of=("anon", "hf", "maintainer"), default="anon")
    locale: str = column.text(40, name=True)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation as the page showed it."""

    id: str = column.text(128, name=True)
    role: str = column.text(20, one_of=("system", "user", "assistant"), default="user")
    content: str = column.text(MOST_SHOWN, free=True)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the contributor saw before the answer, the question last; `omitted` earlier ones are not kept."""

    messages: tuple[Message, ...] = column.several(MOST_MESSAGES)
    omitted: int = column.count()


@dataclass(frozen=True, slots=True)
class Sent:
    """What the model was given: this system prompt, then these messages in this order, the question last."""

    history_mode: str = column.text(20, one_of=HISTORY_MODES)
    message_ids: tuple[str, ...] = column.several(MOST_MESSAGES, 128)
    truncated_turns: int = column.count()
    prompt_tokens: int = column.count()
    system_prompt: str = column.text(LONGEST_ANSWER, free=True)
    system_prompt_sha256: str = column.text(64, name=True)
    prompt_sha256: str = column.text(64, name=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """The flagged answer and how it came about."""

    text: str = column.text(LONGEST_ANSWER, free=True)
    finish_reason: str = column.text(40, name=True)
    completion_tokens: int = column.count()
    stopped_by_user: bool = False
    first_token_ms: float = column.number()
    tokens_per_second: float = column.number()


@dataclass(frozen=True, slots=True)
class Model:
    """The model that answered, whole: enough to load the same file again."""

    name: str = column.text(200)
    repo: str = column.text(400)
    revision: str = column.text(128, name=True)
    gguf_file: str = column.text(400)
    gguf_sha256: str = column.text(64, name=True)
    quant: str = column.text(40, name=True)
    base_revision: str = column.text(128, name=True)
    round: int = column.count()
    template_sha256: str = column.text(64, name=True)
    engine: str = column.text(80)
    context: int = column.count()
    threads: int = column.count()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token was chosen."""

    temperature: float = column.number()
    top_p: float = column.number()
    top_k: int = column.count()
    min_p: float = column.number()
    repeat_penalty: float = column.number()
    max_tokens: int = column.count()
    seed: int = column.count(least=-(2**53))


@dataclass(frozen=True, slots=True)
class FlagReason:
    """One chosen reason, with its direction at the time."""

    id: str = column.text(60, name=True)
    direction: str = column.text(20, one_of=DIRECTIONS, default="bad")


@dataclass(frozen=True, slots=True)
class Correction:
    """What the contributor would have answered. Unverified: only a review can accept it."""

    text: str = column.text(LONGEST_CORRECTION, free=True)
    kind: str = column.text(20, one_of=("", "edit", "rewrite"))
    changed: float = column.number(most=1.0)


@dataclass(frozen=True, slots=True)
class Redaction:
    """That a column had something masked: which kind, how often; never what."""

    where: str = column.text(80, name=True)
    kind: str = column.text(40, name=True)
    count: int = column.count(least=1, default=1)


@dataclass(frozen=True, slots=True)
class Span:
    """A passage of the answer that the flag speaks of, with words around it to find it again."""

    start: int = column.count()
    end: int = column.count()
    quote: str = column.text(2_000, free=True)
    prefix: str = column.text(200, free=True)
    suffix: str = column.text(200, free=True)
    reason_id: str = column.text(60, name=True)
    note: str = column.text(1_000, free=True)


@dataclass(frozen=True, slots=True)
class SideBySide:
    """The other answer that was shown beside this one, and which was chosen."""

    other_message_id: str = column.text(128, name=True)
    other_model: str = column.text(400)
    choice: str = column.text(20, name=True)
    blind: bool = False
    position: str = column.text(1, one_of=("", "a", "b"))


@dataclass(frozen=True, slots=True)
class Extras:
    """What few flags carry."""

    rating: int = column.count(most=5)
    expected: str = column.text(LONGEST_COMMENT, free=True)
    spans: tuple[Span, ...] = column.several(10)
    comparison: SideBySide = SideBySide()


@dataclass(frozen=True, slots=True)
class FlagEvent:
    """One event of one flag. `revision` 0 and an empty `content_hash`: a draft that the outbox completes."""

    format: str = column.text(20, one_of=(FORMAT,), default=FORMAT)
    taxonomy: str = column.text(20, one_of=(VERSION,), default=VERSION)
    app_version: str = column.text(40, name=True)
    app_commit: str = column.text(64, name=True)
    event_id: str = column.text(36, name=True)
    flag_id: str = column.text(36, name=True)
    revision: int = column.count(most=MOST_REVISIONS)
    op: str = column.text(20, one_of=OPS, default="create")
    created_at: str = column.text(40, name=True)
    message_at: str = column.text(40, name=True)
    time_to_flag_ms: int = column.count()
    consent: Consent = Consent()
    contributor: Contributor = Contributor()
    conversation_id: str = column.text(128, name=True)
    turn_index: int = column.count()
    message_id: str = column.text(128, name=True)
    parent_message_id: str = column.text(128, name=True)
    sibling_ids: tuple[str, ...] = column.several(100, 128)
    shown: Shown = Shown()
    sent: Sent = Sent()
    answer: Answer = Answer()
    model: Model = Model()
    sampling: Sampling = Sampling()
    verdict: str = column.text(20, one_of=("", *VERDICTS))
    severity: str = column.text(20, one_of=SEVERITIES)
    reasons: tuple[FlagReason, ...] = column.several(MOST_REASONS)
    hazards: tuple[str, ...] = column.several(13, 8)
    comment: str = column.text(LONGEST_COMMENT, free=True)
    correction: Correction = Correction()
    redactions: tuple[Redaction, ...] = column.several(2_000)
    blocked: bool = False
    preview_shown: bool = False
    extras: Extras = column.packed(Extras)
    content_hash: str = column.text(64, name=True)


def pseudonym(secret: bytes, visitor: str) -> str:
    """The lasting name of a visitor in every event; keyed: without the secret nobody can tell who it is."""
    return hmac.new(secret, b"backtalk/contributor/1\0" + visitor.encode(), hashlib.sha256).hexdigest()[:32]


def flag_id(contributor: str, message_id: str) -> str:
    """The id of the one flag that a contributor can have on a message."""
    return str(uuid.uuid5(NAMESPACE, f"{contributor}|{message_id}"))


def new_event_id() -> str:
    """A UUID of version 7: unique, and sorted by time (Python brings it only from 3.14 on).

    Its twelve bits after the milliseconds are their fraction (RFC 9562, 6.2, method 3), so that what one
    process makes within a millisecond is sorted, too.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = (rest << 12) // 1_000_000
    noise = int.from_bytes(os.urandom(8)) >> 2
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | noise))


def now() -> str:
    """This moment, in UTC to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def content_hash(event: FlagEvent) -> str:
    """SHA-256 of the canonical row without this column; of masked text, since events are masked before."""
    return hashlib.sha256(canonical_json({**plain(event), "content_hash": ""})).hexdigest()


def to_row(event: FlagEvent) -> dict[str, Any]:
    """The event as one JSON line holds it."""
    return plain(event)


def from_row(row: Mapping[str, Any] | str | bytes) -> FlagEvent:
    """The event of a row or of its JSON text; anything that breaks the schema is refused with a reason."""
    event = _read_columns(_parsed(row) if isinstance(row, str | bytes) else row)
    faults = _broken_rules(event)
    if event.content_hash != content_hash(event):
        faults.append("content_hash does not belong to the content")
    if faults:
        raise _refusal(faults)
    return event


def validate(event: FlagEvent) -> None:
    """Raises FlagError with one sentence if the event may not be stored as it is."""
    from_row(to_row(event))


def well_formed(event: FlagEvent) -> FlagEvent:
    """The event with its texts cleaned and every column checked: what can be masked, numbered and hashed."""
    cleaned = map_texts(event, lambda _, written: clean(written))
    return spell_out_moments(_read_columns(to_row(cleaned)))


def check_rules(event: FlagEvent) -> None:
    """Raises FlagError where columns that are well formed contradict each other (the hash aside)."""
    if faults := _broken_rules(event):
        raise _refusal(faults)


def _read_columns(row: Any) -> FlagEvent:
    faults: list[str] = []
    event = read(FlagEvent, row, "", faults)
    if faults:
        raise _refusal(faults)
    return event


def _parsed(row: str | bytes) -> Any:
    if len(row) > LONGEST_ROW:
        raise _refusal([f"it has a length of {len(row)} (at most {LONGEST_ROW})"])
    try:
        return json.loads(row)
    except (ValueError, RecursionError) as fault:
        raise _refusal([f"it is not JSON ({str(fault)[:80]})"]) from fault


def _refusal(faults: list[str]) -> FlagError:
    more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
    return FlagError(
        f"This flag was refused and nothing of it was stored: {'; '.join(faults[:MOST_FAULTS])}{more}."
    ).called("out_of_step")


def _broken_rules(event: FlagEvent) -> list[str]:
    content_faults = _withdrawal_faults if event.op == "retract" else _vote_faults
    return [*_identity_faults(event), *content_faults(event)]


def _identity_faults(event: FlagEvent) -> list[str]:
    needed = {
        "event_id": event.event_id,
        "created_at": event.created_at,
        "conversation_id": event.conversation_id,
        "message_id": event.message_id,
        "contributor.pseudonym": event.contributor.pseudonym,
    }
    faults = [f"{name} is empty" for name, value in needed.items() if not value]
    if event.revision < 1:
        faults.append("revision is 0 (wanted 1 or more)")
    if event.flag_id != flag_id(event.contributor.pseudonym, event.message_id):
        faults.append("flag_id does not follow from contributor and message")
    if sum(len(message.content) for message in event.shown.messages) > MOST_SHOWN:
        faults.append(f"shown has more than {MOST_SHOWN} characters")
    return faults


def _withdrawal_faults(event: FlagEvent) -> list[str]:
    texts = (event.answer.text, event.comment, event.correction.text, event.sent.system_prompt, event.verdict)
    carries = any(texts) or event.shown.messages or event.reasons or event.hazards or event.extras != Extras()
    return ["a retraction carries a verdict or texts (wanted none)"] if carries else []


def _vote_faults(event: FlagEvent) -> list[str]:
    if event.verdict not in VERDICTS:
        return [f"verdict is empty (wanted {', '.join(VERDICTS)})"]
    faults = [fault for reason in event.reasons for fault in _reason_faults(reason, event)]
    chosen = [reason.id for reason in event.reasons]
    if len(set(chosen)) < len(chosen):
        faults.append("a reason is given twice")
    return faults + _hazard_faults(event)


def _reason_faults(reason: FlagReason, event: FlagEvent) -> list[str]:
    known = taxonomy().by_id.get(reason.id)
    if known is None:
        return [f"there is no reason {reason.id!r} in {VERSION}"]
    if reason.direction != known.direction:
        return [f"reason {reason.id} has direction {reason.direction} (wanted {known.direction})"]
    if known.direction not in FITTING[event.verdict]:
        return [f"reason {reason.id} contradicts the verdict {event.verdict}"]
    if known.needs_comment and not event.comment.strip():
        return [f"reason {reason.id} needs a comment"]
    return []


def _hazard_faults(event: FlagEvent) -> list[str]:
    by_id = taxonomy().by_id
    named = {h for reason in event.reasons if reason.id in by_id for h in by_id[reason.id].hazards}
    return [f"hazard {hazard} belongs to no chosen reason" for hazard in event.hazards if hazard not in named]
