"""A command that is watched while it runs: how long it took, what memory it and its children held at once.

    found = watch([sys.executable, "-m", "export", "convert", "models/mini", "mini.gguf"], log)
    found.seconds, found.anonymous_bytes, found.resident_bytes

Anonymous memory is what a machine must have: a mapped file comes and goes as there is room. It is sampled, as
a sum over the processes; `resident_bytes` is the kernel's own high-water mark of the largest of them, mapped
files included. Where the system has no /proc both are None.
"""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
SECONDS_BETWEEN_LOOKS = 0.01
ANONYMOUS, HIGHEST = "RssAnon", "VmHWM"
STOLEN = 8  # column of /proc/stat's first line, proc(5)


@dataclass(frozen=True)
class Watched:
    """What a command took; `code` is its exit code, negative for the signal that ended it."""

    code: int
    seconds: float
    anonymous_bytes: int | None
    resident_bytes: int | None


def watch(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> Watched:
    """Runs `command` to its end; what it says, on either stream, is in `log`."""
    anonymous = highest = 0
    with open(log, "wb") as words:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=environment
        )
        try:
            while (code := process.poll()) is None:
                looks = [_kilobytes(pid) for pid in family(process.pid)]
                anonymous = max(anonymous, sum(look.get(ANONYMOUS, 0) for look in looks))
                highest = max(highest, *(look.get(HIGHEST, 0) for look in looks), 0)
                time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            process.kill()
            process.wait()
        seconds = time.perf_counter() - began
    return Watched(code, seconds, anonymous * 1024 or None, highest * 1024 or None)


def family(pid: int) -> Iterator[int]:
    """A process and all below it; those that end meanwhile are left out."""
    yield pid
    try:
        for task in os.listdir(PROC / str(pid) / "task"):
            for child in (PROC / str(pid) / "task" / task / "children").read_text().split():
                yield from family(int(child))
    except OSError:
        return


def _kilobytes(pid: int) -> dict[str, int]:
    """The sizes in the kernel's record of a process; empty where it is gone."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name: int(value.split()[0]) for name, _, value in pairs if name in (ANONYMOUS, HIGHEST)}


def proportional_bytes(pid: int) -> int:
    """What a process and all below it hold, pages that several share counted once."""
    return sum(map(_proportional, family(pid)))


def _proportional(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def stolen_seconds() -> float:
    """Of the cores' time so far: what the machine's host gave to others; 0 where it does not tell."""
    try:
        first = (PROC / "stat").read_text().splitlines()[0].split()
    except OSError:
        return 0.0
    return int(first[STOLEN]) / os.sysconf("SC_CLK_TCK") if len(first) > STOLEN else 0.0
