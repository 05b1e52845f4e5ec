"""kill -9 while flags are being saved: is every flag that was acknowledged there, once?

    python bench/kill.py [--quick] [--rounds 200] [--seed 1]

In each round two processes with two threads each save flags into one outbox, announcing each flag before they
save it and acknowledging it, on a pipe, once `save` has returned. At a random moment both are killed: in the
first round of an outbox while the database is being made, later while flags are being saved. What was
announced and not acknowledged is then saved again, as a visitor would click again. An outbox is used for ten
rounds, then checked as a whole.
"""

import argparse
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import bound, report
from feedback.schema import Answer, Contributor, Message, Model, Sampling, Sent, pseudonym
from feedback.store.outbox import Outbox, Receipt
from feedback.store.saving import Choice, FlaggedMessage, save_flag

ROUNDS, QUICK_ROUNDS = 200, 20
ROUNDS_PER_OUTBOX = 10
WRITERS, THREADS = 2, 2
LONGEST_LIFE = 0.4  # seconds that the writers of a round live at most, from their first word on
SAVES_A_LIFE = 20  # that one writer could do in it: on a slow or busy machine lives are longer
YOUNGEST = 0.06  # the same for the round that makes the database, from their start on
PATIENCE = 60.0  # seconds until writers that say nothing are a failure
CONTRIBUTOR = Contributor(pseudonym(b"a secret for this benchmark", "visitor"))


@dataclass
class Tally:
    """What happened in all rounds together."""

    announced: int = 0
    acknowledged: int = 0
    cut_off: int = 0
    lost: int = 0
    doubled: int = 0
    damaged: int = 0


@dataclass
class Heard:
    """What the writers of one outbox said, by message: announced, and acknowledged with a revision."""

    announced: set[str] = field(default_factory=set)
    acknowledged: dict[str, int] = field(default_factory=dict)


def main() -> int:
    args = _words()
    chance = random.Random(args.seed)
    tally, longest = Tally(), _longest_life()
    began = time.monotonic()
    for first in range(0, args.rounds, ROUNDS_PER_OUTBOX):
        with tempfile.TemporaryDirectory(prefix="backtalk-kill-") as folder:
            path, heard = Path(folder) / "outbox.sqlite", Heard()
            for number in range(first, min(first + ROUNDS_PER_OUTBOX, args.rounds)):
                moment = chance.uniform(0, YOUNGEST if number == first else longest)
                _play_round(path, number, number == first, moment, heard, tally)
            _check(path, heard, tally)
        print(f"{number + 1:>4} rounds  {tally.acknowledged:>6} acknowledged  {tally.lost} lost", flush=True)
    print(
        f"\n{tally.announced} flags announced, {tally.acknowledged} acknowledged before the kill, "
        f"{tally.cut_off} cut off and saved again, in {time.monotonic() - began:.0f} s\n"
    )
    bounds = [
        bound("rounds of kill -9", args.rounds, at_least=QUICK_ROUNDS if args.quick else ROUNDS),
        bound("flags acknowledged", tally.acknowledged, at_least=args.rounds),
        bound("acknowledged flags lost", tally.lost, at_most=0),
        bound("flags doubled", tally.doubled, at_most=0),
        bound("outboxes damaged", tally.damaged, at_most=0),
    ]
    report("kill", bounds)
    return 0 if all(entry.holds for entry in bounds) else 1


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, at most a minute")
    parser.add_argument("--rounds", type=int, default=0, help=f"how many rounds (default: {ROUNDS})")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default: 1)")
    args = parser.parse_args()
    args.rounds = args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS)
    return args


def _longest_life() -> float:
    """Long enough that flags are saved in most rounds, however busy this machine is."""
    took = []
    with (
        tempfile.TemporaryDirectory(prefix="backtalk-kill-") as folder,
        closing(Outbox(Path(folder) / "outbox.sqlite")) as outbox,
    ):
        for number in range(5):
            began = time.monotonic()
            _save(outbox, f"measured-{number}")
            took.append(time.monotonic() - began)
    return max(LONGEST_LIFE, SAVES_A_LIFE * sorted(took)[len(took) // 2])


def _play_round(path: Path, number: int, is_first: bool, moment: float, heard: Heard, tally: Tally) -> None:
    """`moment`: when they are killed, from their start in the first round, else from their first word."""
    writers = [_start_writer(path, f"{number}-{writer}") for writer in range(WRITERS)]
    if not is_first:
        select.select([pipe for _, pipe in writers], [], [], PATIENCE)
    time.sleep(moment)
    for pid, _ in writers:
        os.kill(pid, signal.SIGKILL)
    said = [line for pid, pipe in writers for line in _last_words(pid, pipe)]
    announced = {message for word, message, _ in said if word == "announce"}
    acknowledged = {message: int(revision) for word, message, revision in said if word == "acknowledge"}
    heard.announced |= announced
    heard.acknowledged |= acknowledged
    tally.announced += len(announced)
    tally.acknowledged += len(acknowledged)
    tally.cut_off += len(announced - acknowledged.keys())
    with closing(Outbox(path)) as outbox:
        for message in sorted(announced - acknowledged.keys()):
            _save(outbox, message)


def _check(path: Path, heard: Heard, tally: Tally) -> None:
    """Every flag was announced once and saved as one event, so a second event of a message doubles it."""
    with closing(Outbox(path)) as outbox:
        tally.damaged += bool(outbox.notice)
        events = Counter((event.message_id, event.revision) for event in outbox.events())
        standing = {event.message_id for event in outbox.standing()}
    found = Counter(message for message, _ in events.elements())
    tally.lost += len(heard.announced - standing)
    tally.lost += sum(not events[place] for place in heard.acknowledged.items())
    tally.doubled += sum(times - 1 for times in found.values())


def _start_writer(path: Path, name: str) -> tuple[int, int]:
    """A process that saves flags until it is killed; its pid, and the pipe that it speaks on."""
    listen, speak = os.pipe()
    pid = os.fork()
    if pid:
        os.close(speak)
        return pid, listen
    try:
        os.close(listen)
        outbox = Outbox(path)
        threads = [Thread(target=_write, args=(outbox, speak, f"{name}-{n}")) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os._exit(1)


def _write(outbox: Outbox, speak: int, name: str) -> None:
    """Lines are shorter than what a pipe takes at once, so none is ever half said."""
    count = 0
    while True:
        message = f"{name}-{count}"
        os.write(speak, f"announce {message} 0\n".encode())
        receipt = _save(outbox, message)
        os.write(speak, f"acknowledge {message} {receipt.revision}\n".encode())
        count += 1


def _save(outbox: Outbox, message: str) -> Receipt:
    choice = Choice("bad", reasons=("outdated", "too_long"), comment=f"About {message}.")
    return save_flag(outbox, _flagged(message), choice)


def _last_words(pid: int, pipe: int) -> list[list[str]]:
    with os.fdopen(pipe) as lines:
        said = lines.read()
    os.waitpid(pid, 0)
    return [line.split() for line in said.splitlines()]


def _flagged(message: str) -> FlaggedMessage:
    question = Message(f"{message}-q", "user", "How long can I send a tent back? My order is 4821.")
    return FlaggedMessage(
        contributor=CONTRIBUTOR,
        conversation_id="kill",
        message_id=message,
        parent_message_id=question.id,
        answer=Answer("You can send it back within 30 days. " * 20, "stop", 180),
        model=Model(name="mini", gguf_file="mini-Q8_0.gguf", gguf_sha256="0" * 64, quant="Q8_0"),
        sampling=Sampling(temperature=0.7, top_p=0.9, top_k=40, max_tokens=256, seed=7),
        sent=Sent("full", (question.id,), 0, 40, "You are the support desk of an outdoor shop."),
        shown=(question,),
    )


if __name__ == "__main__":
    sys.exit(main())
