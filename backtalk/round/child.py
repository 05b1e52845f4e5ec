"""One verb of Backtalk as a process: its words are logged, its progress is passed on, its last line is read.

    done = run_verb(["curate", "--json"], log, progress.report)
    done.code, done.said        exit code, and the JSON object that `--json` promises

A process of its own gives all its memory back when it ends, and a kill harms nothing that is already done. It
is held on a leash (leash.py), so that it ends with the round, however the round ends.
"""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import IO, Any

from backtalk.round.leash import IDLE

INTERRUPTED = 130
PARAGRAPH = 12  # last lines of what went wrong that are kept


@dataclass
class Done:
    """How a verb ended."""

    code: int = 0
    said: dict[str, Any] = field(default_factory=dict)
    """Its JSON line; empty where it printed none."""
    fault: str = ""
    """The last line that it wrote to stderr: where it failed, the sentence that says why."""


def run_verb(
    words: Sequence[str],
    log: Path,
    report: Callable[[str], None],
    given: Mapping[str, str] | None = None,
    idle: bool = False,
    enough: Event | None = None,
) -> Done:
    """Runs `python -m backtalk WORDS` to its end, with `idle` on cores that nobody else wants.

    `given` is all of its environment (default: ours). Raises KeyboardInterrupt, after the verb has ended,
    where Ctrl-C was pressed or `enough` was set.
    """
    python = [sys.executable, "-m"]
    leash = [*python, "backtalk.round.leash", *([IDLE] if idle else [])]
    command = [*leash, *python, "backtalk", *words]
    environment = {**(os.environ if given is None else given), "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"$ backtalk {' '.join(words)}\n")
        file.flush()
        # In a session of its own, the leash outlives whoever kills ours, and so does its work.
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        ) as held:
            if enough:
                Thread(target=_interrupt_when, args=(enough, held), daemon=True).start()
            return _follow(held, file, report)


def _follow(leash: "subprocess.Popen[bytes]", file: IO[str], report: Callable[[str], None]) -> Done:
    said: deque[str] = deque(maxlen=1)
    faults: deque[str] = deque(maxlen=PARAGRAPH)
    alone = Lock()

    def read(stream: IO[bytes], keep: deque[str], tell: Callable[[str], None]) -> None:
        for line in stream:
            text = line.decode("utf-8", "replace").rstrip()
            with alone:
                file.write(f"{text}\n")
                file.flush()
                if text:
                    keep.append(text)
                    tell(text)

    assert leash.stdin and leash.stdout and leash.stderr
    readers = [
        Thread(target=read, args=(leash.stdout, said, lambda text: None), daemon=True),
        Thread(target=read, args=(leash.stderr, faults, report), daemon=True),
    ]
    for reader in readers:
        reader.start()
    interrupted = _wait(leash)
    for reader in readers:
        reader.join()
    if interrupted or leash.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    return Done(leash.returncode, _object(said), faults[-1] if faults else "")


def _wait(leash: "subprocess.Popen[bytes]") -> bool:
    """Waits for the end; True where Ctrl-C came in between, which the verb is then told."""
    interrupted = False
    while True:
        try:
            leash.wait()
            return interrupted
        except KeyboardInterrupt:
            interrupted = True
            _interrupt(leash)


def _interrupt_when(enough: Event, leash: "subprocess.Popen[bytes]") -> None:
    enough.wait()
    _interrupt(leash)


def _interrupt(leash: "subprocess.Popen[bytes]") -> None:
    assert leash.stdin
    try:
        leash.stdin.write(b".")
        leash.stdin.flush()
    except (BrokenPipeError, ValueError):
        return  # it has ended meanwhile


def _object(lines: Sequence[str]) -> dict[str, Any]:
    try:
        value = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
