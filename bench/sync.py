"""Five writers, a Hub that fails three requests of ten, kill -9: is every flag there, once, unchanged?

    python bench/sync.py [--quick] [--flags 2000] [--seed 1]

Each writer is a process with an outbox of its own, which saves flags, says which it acknowledged, and syncs
all the while to the same two datasets on a local Hub. The Hub answers with every kind of fault: errors before
and after the commit took effect, connections cut before, after and in the middle of an answer, delays. Each
writer is killed three times at a random moment and started again on the same outbox. At the end the Hub is
started anew without faults, and the real `datasets.load_dataset` reads both datasets whole.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk import hub
from backtalk.files import canonical_json
from bench.report import bound, report
from feedback.hub.sync import Pace, Sync, status
from feedback.schema import (
    Answer,
    Consent,
    Contributor,
    Message,
    Model,
    Sampling,
    Sent,
    now,
    pseudonym,
    to_row,
)
from feedback.store.outbox import Outbox
from feedback.store.saving import Choice, FlaggedMessage, save_flag

ROOT = Path(__file__).resolve().parents[1]
WRITERS, QUICK_WRITERS = 5, 2
KILLS, QUICK_KILLS = 3, 1  # of each writer
FLAGS, QUICK_FLAGS = 2_000, 24
FAULTS = 0.3
QUICK_PAUSES = 0.05, 0.5  # seconds that the client waits after a fault: a quick run has no time for its own
PAUSE = 0.05  # seconds between the flags of a writer, so that syncing and saving overlap
DATASETS = {"BACKTALK_FLAGS_DATASET": "somebody/flags", "BACKTALK_SAFETY_DATASET": "somebody/safety"}
CONSENT = Consent("v1", "flag+thread", True, "", "2026-11-20T10:00:00.000Z")
LOAD = """
import json, sys, datasets
for name in sys.argv[1:]:
    for row in datasets.load_dataset(name, split="train"):
        print(json.dumps(row))
"""


def main() -> int:
    args = _words()
    if args.write:
        return _write(args)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="backtalk-sync-") as name:
        folder = Path(name)
        with _hub(folder, FAULTS, args.seed) as (endpoint, last_words):
            writers = [Writer(folder, number, args, endpoint) for number in range(args.writers)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
        requests, faulty = (int(number) for number in re.findall(r"\d+", last_words[-1])[:2])
        seconds = time.monotonic() - began
        with _hub(folder, 0.0, 0) as (endpoint, _):
            found = Counter(_load_dataset(folder, endpoint))
        stored = Counter(row for writer in writers for row in _rows(writer.path))
    acknowledged = {event_id for writer in writers for event_id in writer.acknowledged}
    return _report(args, acknowledged, stored, found, writers, requests, faulty, seconds)


class Writer(Thread):
    """One writer: process after process on the same outbox, each killed but the last."""

    def __init__(self, folder: Path, number: int, args: argparse.Namespace, endpoint: str):
        super().__init__()
        self.path = folder / f"outbox-{number}.sqlite"
        self.acknowledged: set[str] = set()
        self.killed = 0
        self._flags, self._kills = args.flags // args.writers, args.kills
        self._chance = random.Random(f"{args.seed}-{number}")
        self._command = [sys.executable, __file__, "--write", str(self.path), "--number", str(number)]
        self._command += ["--quick"] * args.quick
        self._environment = _environment(folder, endpoint)

    def run(self) -> None:
        for flags in sorted(self._chance.randint(1, self._flags - 1) for _ in range(self._kills)):
            self._live(until=flags)
        self._live()

    def _live(self, until: int = 0) -> None:
        """A process; with `until`, it is killed some time after so many flags were acknowledged in all."""
        command = [*self._command, "--flags", str(self._flags)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=self._environment) as process:
            assert process.stdout
            for line in process.stdout:
                self.acknowledged.add(line.decode().strip())
                if until and len(self.acknowledged) >= until:
                    time.sleep(self._chance.uniform(0, 1))
                    process.kill()
                    self.killed += 1
                    until = 0
        if process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"A writer of {self.path} ended with {process.returncode}.")


def _write(args: argparse.Namespace) -> int:
    """The writer's process: saves what is still to save, then waits until the Hub has everything."""
    if args.quick:
        hub.FIRST_PAUSE, hub.LONGEST_PAUSE = QUICK_PAUSES
    with closing(Outbox(args.write)) as outbox:
        sync = Sync(outbox, Pace(intervals=(0.2,), commits_a_day=1_000_000), look_seconds=0.1).start()
        stored = [event.event_id for event in outbox.events()]  # one may not have been said before the kill
        os.write(1, "".join(f"{event_id}\n" for event_id in stored).encode())
        for flag in range(len(stored), args.flags):
            receipt = save_flag(outbox, _flagged(args.number, flag), _choice(flag))
            os.write(1, f"{receipt.event.event_id}\n".encode())
            time.sleep(PAUSE)
        while status(outbox).course.waiting:
            time.sleep(0.2)
        sync.stop()
    return 0


def _flagged(number: int, flag: int) -> FlaggedMessage:
    question = Message(
        f"q-{number}-{flag}", "user", f"How long can I send tent {flag} back? Grüße! \U0001f3d5"
    )
    return FlaggedMessage(
        contributor=Contributor(pseudonym(b"a secret for this benchmark", f"visitor-{number}")),
        conversation_id=f"sync-{number}",
        message_id=f"m-{number}-{flag}",
        parent_message_id=question.id,
        message_at=now(),
        shown=(question,),
        sent=Sent("full", (question.id,), 0, 40, "You are the support desk of an outdoor shop."),
        answer=Answer(
            "You can send it back within 30 days.\n" * (1 + flag % 40), "stop", 180, False, 41.5, 80.25
        ),
        model=Model(name="mini", gguf_file="mini-Q8_0.gguf", gguf_sha256="0" * 64, quant="Q8_0"),
        sampling=Sampling(temperature=0.7, top_p=0.9, top_k=40, max_tokens=256, seed=7),
    )


def _choice(flag: int) -> Choice:
    """Every twentieth flag is about safety, and so belongs to the other dataset."""
    reason = "self_harm" if flag % 20 == 0 else "outdated"
    return Choice("bad", (reason,), comment=f'{flag} \u2028 "quoted"', consent=CONSENT, preview_shown=True)


@contextmanager
def _hub(folder: Path, faults: float, seed: int) -> Iterator[tuple[str, list[str]]]:
    """A Hub on the folder: where it is, and, once it has ended, the lines that it said."""
    command = [sys.executable, "-m", "tests.hub", "--port", "0", "--folder", str(folder / "hub")]
    command += ["--faults", str(faults), "--seed", str(seed)]
    said: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield re.findall(r"http://\S+", process.stdout.readline())[0], said
        finally:
            process.terminate()
            said += process.stdout.read().splitlines()


def _environment(folder: Path, endpoint: str) -> dict[str, str]:
    client = {
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": "hf_write",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
    }
    return {**os.environ, **DATASETS, **client, "HF_HOME": str(folder / "hf")}


def _load_dataset(folder: Path, endpoint: str) -> list[bytes]:
    """The rows of both datasets as the real library returns them, each spelled as the outbox spells it."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *DATASETS.values()],
        env=_environment(folder, endpoint),
        capture_output=True,
        check=True,
    )
    return [canonical_json(json.loads(line)) for line in done.stdout.splitlines()]


def _rows(path: Path) -> list[bytes]:
    with closing(Outbox(path)) as outbox:
        return [canonical_json(to_row(event)) for event in outbox.events()]


def _report(
    args: argparse.Namespace,
    acknowledged: set[str],
    stored: Counter[bytes],
    found: Counter[bytes],
    writers: list[Writer],
    requests: int,
    faulty: int,
    seconds: float,
) -> int:
    there = Counter(json.loads(row)["event_id"] for row in found.elements())
    kills = sum(writer.killed for writer in writers)
    print(
        f"{len(acknowledged)} flags acknowledged, {stored.total()} stored, {found.total()} read back; "
        f"{kills} kills; {requests} requests, {faulty} of them with a fault; {seconds:.0f} s\n"
    )
    bounds = [
        bound("flags acknowledged", len(acknowledged), at_least=args.flags),
        bound("kills", kills, at_least=args.writers * args.kills),
        bound("share of requests with a fault", faulty / requests, at_least=0.25),
        bound("acknowledged flags lost", len(acknowledged - there.keys()), at_most=0),
        bound("flags there twice", sum(times - 1 for times in there.values()), at_most=0),
        bound("flags that differ from the outbox", (found - stored).total(), at_most=0),
        bound("stored flags not there", (stored - found).total(), at_most=0),
    ]
    report("sync", bounds, requests=requests, seconds=round(seconds))
    return 0 if all(entry.holds for entry in bounds) else 1


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_WRITERS} writers, {QUICK_FLAGS} flags, at most a minute"
    )
    parser.add_argument("--flags", type=int, default=0, help=f"how many in all (default: {FLAGS})")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the kills (default: 1)")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.flags = args.flags or (QUICK_FLAGS if args.quick else FLAGS)
    args.kills, args.writers = (QUICK_KILLS, QUICK_WRITERS) if args.quick else (KILLS, WRITERS)
    return args


if __name__ == "__main__":
    sys.exit(main())
