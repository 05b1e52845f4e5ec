"""How long does a flag take until it is safe, beside a bare insert of the same bytes into SQLite?

    python bench/feedback.py [--quick] [--saves 2000] [--folder DIR]

In turns, a flag of 4 kB is saved in an outbox and the bytes of its row are inserted into a table of key and
text, in a file of its own with the same durability (WAL, synchronous=FULL). Each save is timed three times:
from the click, with masking; from the masked event on; from its row on, numbered, checked and encoded. Then
eight threads save at once. DIR should lie on the disk that holds the outbox.
"""

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.files import canonical_json
from bench.report import bound, report
from feedback.redact import masked_event
from feedback.schema import (
    Answer,
    Consent,
    Contributor,
    Message,
    Model,
    Sampling,
    Sent,
    pseudonym,
    to_row,
)
from feedback.store import outbox as outbox_module
from feedback.store.line import next_line
from feedback.store.outbox import Outbox
from feedback.store.saving import Choice, FlaggedMessage, draft, save_flag

SAVES, QUICK_SAVES = 2_000, 200
WARM_UP = 20
THREADS = 8
CONSENT = Consent("v1", "flag+thread", True, "", "2026-11-20T10:00:00.000Z")
CHOICE = Choice(
    "bad",
    ("outdated", "too_long"),
    severity="major",
    comment="45 days, says ann@example.org",
    consent=CONSENT,
)
CONTRIBUTOR = Contributor(pseudonym(b"a secret for this benchmark", "visitor"), locale="en")
ANSWER = (
    "You can send it back within 30 days of 12.05.2024, and we pay EUR 49.90 back. " * 27
)  # a row of 4 kB


class Watch:
    """Stands where the outbox does one step, and notes when that was done."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step = step
        self.done_at = 0.0

    def __call__(self, *words: Any) -> Any:
        done = self.step(*words)
        self.done_at = time.perf_counter()
        return done


@dataclass
class Seconds:
    """What each bare insert took, and each save: from its masked row on, from its masked event on, whole."""

    bare: list[float] = field(default_factory=list)
    row: list[float] = field(default_factory=list)
    event: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)


def main() -> int:
    args = _words()
    with tempfile.TemporaryDirectory(prefix="backtalk-feedback-", dir=args.folder) as folder:
        took = _one_by_one(Path(folder), args.saves)
        at_once, per_second = _all_at_once(Path(folder), args.saves)
    print(f"{'milliseconds':<34}  {'p50':>7}  {'p99':>7}")
    for name, seconds in (
        ("bare insert", took.bare),
        ("from the masked row", took.row),
        ("from the masked event", took.event),
        ("the whole save", took.whole),
        (f"the whole save, {THREADS} threads", at_once),
    ):
        print(f"{name:<34}  {_p50(seconds) * 1e3:>7.3f}  {_p99(seconds) * 1e3:>7.3f}")
    print(f"{per_second:.0f} saves a second with {THREADS} threads\n")
    bounds = [
        bound("p50 from masked row to commit / bare insert", _p50(took.row) / _p50(took.bare), at_most=1.5),
        bound("p50 of the whole save, ms", _p50(took.whole) * 1e3, at_most=10),
    ]
    more = {
        "event_ratio": round(_p50(took.event) / _p50(took.bare), 3),
        "p99_ms": round(_p99(at_once) * 1e3, 3),
        "saves_per_second": round(per_second, 1),
    }
    report("feedback", bounds, threads=THREADS, **more)
    return 0 if all(entry.holds for entry in bounds) else 1


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SAVES} saves, at most a minute")
    parser.add_argument("--saves", type=int, default=0, help=f"how many (default: {SAVES})")
    parser.add_argument(
        "--folder", type=Path, help="where the files are made (default: the temporary folder)"
    )
    args = parser.parse_args()
    args.saves = args.saves or (QUICK_SAVES if args.quick else SAVES)
    return args


def _one_by_one(folder: Path, saves: int) -> Seconds:
    took = Seconds()
    masking, encoding = Watch(masked_event), Watch(next_line)
    with (
        patch.object(outbox_module, "masked_event", masking),
        patch.object(outbox_module, "next_line", encoding),
        closing(Outbox(folder / "outbox.sqlite")) as outbox,
        closing(_bare(folder / "bare.sqlite")) as table,
    ):
        for number in range(WARM_UP + saves):
            if number == WARM_UP:
                took = Seconds()
            message = _flagged(f"one-{number}")
            began = time.perf_counter()
            receipt = save_flag(outbox, message, CHOICE)
            ended = time.perf_counter()
            row = canonical_json(to_row(receipt.event)).decode()
            masked_event(
                draft(message, CHOICE)
            )  # else its flush would follow the other at once, and be short
            inserting = time.perf_counter()
            table.execute("INSERT INTO rows (row) VALUES (?)", (row,))
            took.bare.append(time.perf_counter() - inserting)
            took.row.append(ended - encoding.done_at)
            took.event.append(ended - masking.done_at)
            took.whole.append(ended - began)
    return took


def _bare(path: Path) -> sqlite3.Connection:
    table = sqlite3.connect(path, isolation_level=None)
    table.execute("PRAGMA journal_mode = WAL")
    table.execute("PRAGMA synchronous = FULL")
    table.execute("PRAGMA fullfsync = ON")
    table.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, row TEXT NOT NULL)")
    return table


def _all_at_once(folder: Path, saves: int) -> tuple[list[float], float]:
    """Seconds of each save while several threads share one outbox, and how many there were in a second."""
    taken: list[float] = []

    def save(thread: int) -> None:
        for number in range(saves // THREADS):
            message = _flagged(f"thread-{thread}-{number}")
            began = time.perf_counter()
            save_flag(outbox, message, CHOICE)
            taken.append(time.perf_counter() - began)

    with closing(Outbox(folder / "threads.sqlite")) as outbox:
        threads = [Thread(target=save, args=(number,)) for number in range(THREADS)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return taken, len(taken) / (time.perf_counter() - began)


def _flagged(message: str) -> FlaggedMessage:
    question = Message(f"{message}-q", "user", "How long can I send a tent back? My order is 4821.")
    return FlaggedMessage(
        contributor=CONTRIBUTOR,
        conversation_id="bench",
        message_id=message,
        parent_message_id=question.id,
        answer=Answer(ANSWER, "stop", 180),
        model=Model(name="mini", gguf_file="mini-Q8_0.gguf", gguf_sha256="0" * 64, quant="Q8_0"),
        sampling=Sampling(temperature=0.7, top_p=0.9, top_k=40, max_tokens=256, seed=7),
        sent=Sent("full", (question.id,), 0, 40, "You are the support desk of an outdoor shop."),
        shown=(question,),
    )


def _p50(seconds: Sequence[float]) -> float:
    return statistics.median(seconds)


def _p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[len(seconds) * 99 // 100]


if __name__ == "__main__":
    sys.exit(main())
