"""How long `backtalk curate` takes and how much memory, with every step on.

    python bench/curate.py [--quick] [--counts 200000,500000,1000000]

Each count is a fresh process on fresh events of 2 kB, one in ten nearly a duplicate. Seconds and the most
memory that all its processes had at once (proportional set size: shared pages are counted once) are those of
the whole command, start and writing included.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.contributors import write_events
from bench.report import bound, report

ROOT = Path(__file__).resolve().parents[1]
PROMISED, QUICK = 200_000, 10_000
SECONDS, GIGABYTES = 120, 1.5
COUNTS = (50_000, PROMISED, 500_000, 1_000_000)
BETWEEN_LOOKS = 0.5  # seconds


@dataclass(frozen=True)
class Taken:
    """What one run took."""

    lines: int
    bytes_each: float
    seconds: float
    processor_seconds: float  # of all processes together: what else the machine does matters less to them
    gigabytes: float
    rows: dict[str, int]
    near_duplicates: int


def main() -> int:
    args = _words()
    taken = [_measure(count) for count in args.counts]
    promised = next((one for one in taken if one.lines == PROMISED), None)
    why = "" if promised else f"only with {PROMISED:,} events"
    report(
        "curate",
        [
            bound(
                f"seconds for {PROMISED:,} events", promised and promised.seconds, at_most=SECONDS, why=why
            ),
            bound(
                f"gigabytes for {PROMISED:,} events",
                promised and promised.gigabytes,
                at_most=GIGABYTES,
                why=why,
            ),
        ],
        curve=[vars(one) for one in taken],
    )
    return 0


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} events, at most a minute")
    parser.add_argument(
        "--counts", type=lambda text: tuple(map(int, text.split(","))), default=(), help="events of each run"
    )
    args = parser.parse_args()
    args.counts = args.counts or ((QUICK,) if args.quick else COUNTS)
    return args


def _measure(count: int) -> Taken:
    with tempfile.TemporaryDirectory(prefix="backtalk-curate-") as folder:
        written = write_events(Path(folder) / "events", count)
        began, used = time.monotonic(), _processor_seconds()
        words = ["curate", "--from", f"{folder}/events", "--include", "all", "--json"]
        run = subprocess.Popen(
            [sys.executable, "-m", "backtalk", *words],
            cwd=ROOT,
            env={**os.environ, "BACKTALK_HOME": f"{folder}/home"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        most = 0.0
        while run.poll() is None:
            most = max(most, _memory_of(run.pid))
            time.sleep(BETWEEN_LOOKS)
        seconds, used = time.monotonic() - began, _processor_seconds() - used
        if run.returncode or run.stdout is None:
            raise SystemExit(f"backtalk curate ended with {run.returncode}.")
        metrics = json.loads(run.stdout.read().splitlines()[-1])["metrics"]
    near = metrics["unused"].get("near_duplicate", 0)
    each = round(written / count)
    print(f"{count:>9,} lines  {seconds:>7.1f} s ({used:.1f} s of processors)  {most:>6.2f} GB", flush=True)
    return Taken(count, each, round(seconds, 1), round(used, 1), round(most, 3), metrics["rows"], near)


def _processor_seconds() -> float:
    """What the processes that this one started, and that have ended, used of all processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory_of(pid: int) -> float:
    """Gigabytes that the process and those that it started hold now."""
    return sum(_proportional(one) for one in [pid, *_children(pid)]) / 1e6


def _children(pid: int) -> list[int]:
    try:
        return [int(name) for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _proportional(pid: int) -> float:
    """Kilobytes, 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return float(next((line.split()[1] for line in lines if line.startswith("Pss:")), "0"))


if __name__ == "__main__":
    sys.exit(main())
