"""The transcript: messages that the server signs and the browser keeps.

The browser holds its conversations, so that they survive a restart and continue on another replica with the
same secret. Each message carries an HMAC over everything in it and over the visitor: what is unsigned,
altered or another visitor's is refused, and nobody can put words into the model's mouth. A message names
its parent, so the list that the browser sends must be one unbroken path of one conversation.
"""

import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from backtalk.errors import TranscriptError
from backtalk.files import canonical_json
from backtalk.home import secret

ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
ROLES = {"user", "assistant"}
PURPOSE = b"backtalk transcript 1\n"  # the secret signs other things too; a signature holds for one purpose


@dataclass(frozen=True)
class Message:
    """One message of a conversation; model, sampling, sent and ending are filled for answers."""

    id: str
    conversation: str
    parent: str  # id of the message before it, "" for the first
    role: str
    text: str
    at: str  # UTC, ISO 8601
    model: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    sent: dict[str, Any] = field(default_factory=dict)
    ending: dict[str, Any] = field(default_factory=dict)
    signature: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: Any) -> "Message":
        """Checks names and types; the signature is checked by `verify`."""
        if not isinstance(value, dict) or set(value) != FIELDS.keys():
            raise _altered("has other fields than it was signed with")
        for name, wanted in FIELDS.items():
            if not isinstance(value[name], wanted):
                raise _altered(f"holds a {type(value[name]).__name__} as its {name}")
        return Message(**value)


FIELDS: dict[str, type] = {
    member.name: dict if "dict" in str(member.type) else str for member in fields(Message)
}


def new_id() -> str:
    return secrets.token_urlsafe(12)


def new_visitor() -> str:
    """A visitor's token: an id and its signature. The browser keeps it and shows it with each request."""
    visitor = new_id()
    return f"{visitor}.{_keyed(b'visitor', visitor.encode())}"


def visitor(token: Any) -> str:
    """The id in a visitor's token. Raises TranscriptError for one that this server did not make."""
    name, _, signature = token.partition(".") if isinstance(token, str) else ("", "", "")
    if not ID.fullmatch(name) or not _same(signature, _keyed(b"visitor", name.encode())):
        raise TranscriptError(
            "This browser's visitor key was not made by this server. Reload the page: it gets a new one."
        ).called("stranger")
    return name


def sign(message: Message, visitor: str) -> Message:
    """The message with the signature that only this server can make."""
    return replace(message, signature=_signature(message, visitor))


def verify(messages: Any, visitor: str, conversation: str) -> list[Message]:
    """The messages of one conversation as this server signed them for this visitor, first to last.

    Raises TranscriptError when one is missing its signature, was altered, is another visitor's or out of
    place.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        raise _altered(f"came as a {type(messages).__name__}, and a list was wanted")
    path: list[Message] = []
    for value in messages:
        message = Message.from_json(value)
        if not _same(message.signature, _signature(message, visitor)):
            raise _altered("does not carry this server's signature for you")
        expected_parent = path[-1].id if path else ""
        if message.conversation != conversation or message.parent != expected_parent:
            raise _altered("is out of its place")
        path.append(message)
    return path


def conversation_id(value: Any) -> str:
    """The id of a conversation as the browser gave it. Raises TranscriptError when it is not one."""
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise TranscriptError(
            "This conversation has no valid id. Start a new one; nothing else is lost."
        ).called("altered")
    return value


def _signature(message: Message, visitor: str) -> str:
    try:
        signed = canonical_json(_as_browsers_spell({**asdict(message), "signature": "", "visitor": visitor}))
    except (ValueError, TypeError, RecursionError) as fault:
        raise _altered("holds characters or numbers that were never signed") from fault
    return _keyed(b"message", signed)


def _as_browsers_spell(value: Any) -> Any:
    """JavaScript has one kind of number and gives 812.0 back as 812; a signature must not notice."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _as_browsers_spell(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_browsers_spell(item) for item in value]
    return value


def _keyed(kind: bytes, content: bytes) -> str:
    return hmac.new(secret(), PURPOSE + kind + b"\n" + content, "sha256").hexdigest()


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


def _altered(what: str) -> TranscriptError:
    return TranscriptError(
        f"A message of this conversation {what}, so it cannot be continued here. "
        "Start a new conversation; this one stays readable in your browser."
    ).called("altered")
