"""What maintainers did, line by line: BACKTALK_HOME/actions.jsonl.

    record(request["maintainer"], "promote", "done", model="r3")

A line: at (UTC, ISO 8601), who, what, outcome, and details as given. The file only grows; no token enters it.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from backtalk.files import canonical_json
from backtalk.home import home

FILE = "actions.jsonl"
LONGEST = 500  # characters of an outcome: a sentence, not a log

_writing = Lock()


def actions_file() -> Path:
    """Where the lines are."""
    return home() / FILE


def record(maintainer: Mapping[str, Any], what: str, outcome: str, **details: Any) -> None:
    """Adds one line, on disk when this returns. `details` is plain JSON: ids, names and numbers.

    Raises OSError where it cannot be written: an act that leaves no trace should not look done.
    """
    line = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "who": str(maintainer["name"]),
        "what": what,
        "outcome": outcome[:LONGEST],
        "details": details,
    }
    with _writing:
        # One write of a whole line to a file opened for appending: two processes do not mix theirs.
        descriptor = os.open(actions_file(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, canonical_json(line) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
