"""A seal: what a browser keeps for the server, and can neither read nor change.

    text = seal("comparison", visitor, {"a": ..., "b": ...})
    unseal("comparison", visitor, text)        the same again; TranscriptError for anything else

So a server that was restarted, or another replica with the same secret, goes on where the first one was, and
holds nothing of a visitor meanwhile. The box is Fernet (AES and HMAC) by the `cryptography` library, its key
made of the server's secret for one purpose and one owner.
"""

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from backtalk.errors import TranscriptError
from backtalk.files import canonical_json
from backtalk.home import secret

BLOCK = 256  # bytes: the content is padded with spaces to a multiple of it, so that its length tells little


def seal(purpose: str, owner: str, value: Any) -> str:
    """The value as text that only `unseal` with the same purpose and owner reads; "" is everybody."""
    content = canonical_json(value)
    return _box(purpose, owner).encrypt(content + b" " * (-len(content) % BLOCK)).decode()


def unseal(purpose: str, owner: str, text: Any, seconds: int | None = None) -> Any:
    """What was sealed, at most so many seconds ago where they are told.

    Raises TranscriptError for what this server did not seal for this purpose and owner, or longer ago.
    """
    try:
        return json.loads(_box(purpose, owner).decrypt(text, ttl=seconds))
    except (InvalidToken, TypeError, ValueError):
        raise TranscriptError(
            f"This {purpose} was not made by this server for you, or it was changed. "
            "Ask again; nothing is lost."
        ).called("unsealed") from None


def _box(purpose: str, owner: str) -> Fernet:
    said = b"backtalk seal 2\n" + canonical_json([purpose, owner])
    return Fernet(urlsafe_b64encode(hmac.new(secret(), said, "sha256").digest()))
