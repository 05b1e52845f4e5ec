"""A seal: what a browser keeps for the server, and can neither read nor change.

    text = seal("comparison", visitor, {"a": ..., "b": ...})
    unseal("comparison", visitor, text)        the same again; TranscriptError for anything else

So a server that was restarted, or another replica with the same secret, goes on where the first one was, and
holds nothing of a visitor meanwhile. Encrypt then MAC: SHAKE-256 over key and nonce is the stream that covers
the content, HMAC-SHA-256 shows that it was not touched. Both keys hold for one purpose and one visitor.
"""

import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import shake_256
from typing import Any

from backtalk.errors import TranscriptError
from backtalk.files import canonical_json
from backtalk.home import secret

NONCE, TAG = 16, 32  # bytes
BLOCK = 256  # bytes: the content is padded with spaces to a multiple of it


def seal(purpose: str, visitor: str, value: Any) -> str:
    """The value as text that only `unseal` with the same purpose and visitor reads."""
    content = canonical_json(value)
    padded = content + b" " * (-len(content) % BLOCK)
    nonce = secrets.token_bytes(NONCE)
    hidden = nonce + _covered(padded, _key(b"cover", purpose, visitor), nonce)
    return urlsafe_b64encode(hidden + _tag(hidden, purpose, visitor)).decode()


def unseal(purpose: str, visitor: str, text: Any) -> Any:
    """What was sealed. Raises TranscriptError for what this server did not seal for this visitor."""
    try:
        whole = urlsafe_b64decode(text)
    except (TypeError, ValueError):
        whole = b""
    hidden, tag = whole[:-TAG], whole[-TAG:]
    if len(whole) <= NONCE + TAG or not hmac.compare_digest(tag, _tag(hidden, purpose, visitor)):
        raise TranscriptError(
            f"This {purpose} was not made by this server for you, or it was changed. "
            "Ask again; nothing is lost."
        )
    return json.loads(_covered(hidden[NONCE:], _key(b"cover", purpose, visitor), hidden[:NONCE]))


def _covered(content: bytes, key: bytes, nonce: bytes) -> bytes:
    """Covers, and uncovers what is covered."""
    stream = shake_256(key + nonce).digest(len(content))
    return (int.from_bytes(content) ^ int.from_bytes(stream)).to_bytes(len(content))


def _tag(hidden: bytes, purpose: str, visitor: str) -> bytes:
    return hmac.new(_key(b"tag", purpose, visitor), hidden, "sha256").digest()


def _key(use: bytes, purpose: str, visitor: str) -> bytes:
    said = b"backtalk seal 1\n" + use + b"\n" + canonical_json([purpose, visitor])
    return hmac.new(secret(), said, "sha256").digest()
