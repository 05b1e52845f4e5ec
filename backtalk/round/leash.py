"""Holds one command on a leash: it runs in a session of its own and ends, with all that it started, as soon
as whoever holds the leash is gone.

    python -m backtalk.round.leash COMMAND ...             standard input is the leash
    python -m backtalk.round.leash --idle COMMAND ...      on cores that nobody else wants

A byte on the leash interrupts the command, as Ctrl-C would; the leash's end kills it. So a round that is
killed in whatever way leaves no process behind that would still write when the round is begun again.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

IDLE = "--idle"
LOWEST = 19  # priority of a process


def main(command: list[str]) -> int:
    """Runs the command and returns its exit code."""
    # Ctrl-C in a terminal reaches this process too; whoever holds the leash passes it on.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    idle = command[0] == IDLE
    child = subprocess.Popen(command[idle:], stdin=subprocess.DEVNULL, start_new_session=True)
    if idle:
        _stand_back(child.pid)
    Thread(target=_follow, args=(child.pid,), daemon=True).start()
    code = child.wait()
    _signal(child.pid, signal.SIGKILL)  # what it left behind in its session
    return code if code >= 0 else 128 - code


def _stand_back(session: int) -> None:
    """Gives way to everything else. Linux may weigh whole sessions: then the session's own number counts."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PGRP, session, LOWEST)
    with suppress(OSError):
        Path(f"/proc/{session}/autogroup").write_text(str(LOWEST))


def _follow(session: int) -> None:
    while os.read(0, 1):
        _signal(session, signal.SIGINT)
    _signal(session, signal.SIGKILL)


def _signal(session: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
