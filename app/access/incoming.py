"""JSON from outside: what no part of the app could hold is refused or mended before anybody reads it.

    value = understood(body)        ValueError, with one sentence, for what is no JSON or nested beyond reason
    written(value)                  its JSON for the app behind, every text of it storable

Python reads deeper nesting than it writes, and JSON spells halves of characters that no file and no database
takes; both would end as an internal fault somewhere far behind.
"""

import json
from collections.abc import Iterable
from typing import Any

MOST_NESTED = 64  # levels: a signed conversation in a request has eight


def understood(body: bytes) -> Any:
    """The value of a JSON text. Raises ValueError."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("The request is not JSON.") from None
    if _is_deeper(value, MOST_NESTED):
        raise ValueError(f"The request is nested more than {MOST_NESTED} levels deep.")
    return value


def written(value: Any) -> bytes:
    """A value of `understood` as JSON; half a character (a lone surrogate) becomes U+FFFD."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _is_deeper(value: Any, most: int) -> bool:
    """Level by level, since a function that calls itself is what such a value breaks."""
    level = [value]
    for _ in range(most + 1):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return False
    return True


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
