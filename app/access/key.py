"""The key that programs show: from a file, or from BACKTALK_API_KEY.

key = read_key(settings.api_key_file)       None: no program is let in
key.opens("Bearer 3f9c...")
"""

import hmac
import os
from pathlib import Path

from backtalk.errors import WordsError

VARIABLE = "BACKTALK_API_KEY"
SHORTEST = 16  # characters: what can be guessed is no key


class Key:
    """Compares in a time that tells nothing of the key."""

    def __init__(self, text: str):
        self._text = text.encode()

    def opens(self, authorization: str) -> bool:
        """Whether a request with this Authorization header carries the key."""
        scheme, _, given = authorization.partition(" ")
        is_same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._text)
        return is_same and scheme.lower() == "bearer"


def read_key(file: str = "") -> Key | None:
    """The key in the file, else the one in the environment. Raises WordsError for none in the file, or a
    short one.
    """
    text, place = (_written(Path(file)), file) if file else (os.environ.get(VARIABLE, "").strip(), VARIABLE)
    if not text and not file:
        return None
    if len(text) < SHORTEST or not text.isascii() or any(character.isspace() for character in text):
        raise WordsError(
            f"The key in {place} has {len(text)} characters; wanted are at least {SHORTEST} letters and "
            "digits without spaces. Make one: openssl rand -hex 24"
        )
    return Key(text)


def _written(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise WordsError(f"The key cannot be read from {path} ({fault}). Check --api-key-file.") from fault
