"""How long compaction takes and how much memory, however large the dataset; and is every event there once?

    python bench/compact.py [--quick] [--events 200000]

A local Hub holds segments of 1,000 events of 2 kB, older than a day; one process compacts them with the real
client. Its peak memory is what it had at once for itself, its Hub not counted. Then the shards are read.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.files import canonical_json
from bench.contributors import Contributors
from bench.report import bound, report
from feedback.hub.dataset import FOLDER
from tests.hub.server import Hub
from tests.hub.store import MAIN, Change, Repo

ROOT = Path(__file__).resolve().parents[1]
DATASET = "somebody/flags"
EVENTS, QUICK = 200_000, 4_000
EVENTS_IN_A_SEGMENT = 1_000
BEGAN = datetime(2025, 1, 1, tzinfo=UTC)  # always the same, so that the same shards are written
COMPACT = """
import resource, time
from feedback.hub.compact import compact
began = time.monotonic()
print(compact("flags").sentence)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
used = resource.getrusage(resource.RUSAGE_SELF)
print(time.monotonic() - began, used.ru_utime + used.ru_stime, int(peak) / 1e6)
"""


def main() -> int:
    args = _words()
    with tempfile.TemporaryDirectory(prefix="backtalk-compact-") as name:
        folder = Path(name)
        with Hub(folder / "hub") as hub:
            repo = hub.store.create("dataset", DATASET, private=True, author="somebody")
            written, size = _fill(repo, args.events)
            sentence, measured = _compact(hub, folder)
        there = Counter(_events(repo))
        digest = _digest(repo)
    seconds, used, gigabytes = map(float, measured.split())
    print(
        f"{sentence}\n{len(written):,} events of {size / len(written):,.0f} bytes ({size / 1e9:.2f} GB): "
        f"{seconds:.1f} s ({used:.1f} s of processors), {gigabytes:.3f} GB of memory\n"
    )
    bounds = [
        bound("events lost", len(written - there.keys()), at_most=0),
        bound("events there twice", sum(times - 1 for times in there.values()), at_most=0),
    ]
    report(
        "compact",
        bounds,
        events=len(written),
        seconds=round(seconds, 1),
        processor_seconds=round(used, 1),
        gigabytes=round(gigabytes, 3),
        shards_sha256=digest,
    )
    return 0 if all(entry.holds for entry in bounds) else 1


def _fill(repo: Repo, count: int) -> tuple[set[str], int]:
    """Puts segments of made-up events there, a minute apart; the ids of those to be kept, and all bytes.

    A withdrawn flag's texts are to go, so its other events are not among them.
    """
    rows = (row for row in Contributors(1, count).rows() if row["format"].startswith("flag/"))
    sealed, size = BEGAN, 0
    flags: dict[str, set[str]] = {}
    withdrawals: dict[str, str] = {}
    while some := list(islice(rows, min(EVENTS_IN_A_SEGMENT, count))):
        count -= len(some)
        sealed += timedelta(minutes=1)
        lines = [canonical_json(row) + b"\n" for row in sorted(some, key=lambda row: row["event_id"])]
        content = b"".join(lines)
        stamp, sha = f"{sealed:%Y%m%dT%H%M%SZ}", sha256(content).hexdigest()[:12]
        path = f"{FOLDER}/{sealed:%Y-%m-%d}/{stamp}-0badcafe-{sha}.jsonl"
        repo.add(Change("events", files={path: content}), MAIN, "somebody")
        size += len(content)
        for row in some:
            flags.setdefault(row["flag_id"], set()).add(row["event_id"])
            if row["op"] == "retract":
                withdrawals[row["flag_id"]] = row["event_id"]
    kept = [{withdrawals[flag]} if flag in withdrawals else events for flag, events in flags.items()]
    return set().union(*kept), size


def _compact(hub: Hub, folder: Path) -> tuple[str, str]:
    """What a process that compacts says, and its figures."""
    environment = {
        **os.environ,
        "BACKTALK_HOME": str(folder / "home"),
        "BACKTALK_FLAGS_DATASET": DATASET,
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": "hf_write",
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", COMPACT],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    sentence, measured = done.stdout.splitlines()
    return sentence, measured


def _events(repo: Repo) -> Iterator[str]:
    head = repo.commit("main")
    for path in sorted(head.tree):
        if path.startswith(f"{FOLDER}/"):
            content = repo.read(head, path)
            for line in (gzip.decompress(content) if path.endswith(".gz") else content).splitlines():
                yield json.loads(line)["event_id"]


def _digest(repo: Repo) -> str:
    """One hash of all data files, names and bytes: equal where two versions write the same."""
    head, digest = repo.commit("main"), sha256()
    for path in sorted(head.tree):
        digest.update(path.encode() + b"\0" + sha256(repo.read(head, path)).digest())
    return digest.hexdigest()


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} events, at most a minute")
    parser.add_argument("--events", type=int, default=0, help=f"how many (default: {EVENTS:,})")
    args = parser.parse_args()
    args.events = args.events or (QUICK if args.quick else EVENTS)
    return args


if __name__ == "__main__":
    sys.exit(main())
