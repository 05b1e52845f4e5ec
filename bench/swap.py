"""Models are swapped while twenty visitors read answers: is any answer dropped, or written by two models?

    python bench/swap.py [--quick] [--chats 20]

The real server, spoken to as its page does. Each model has words of its own (bench/worded.py) and never ends
by itself, so an answer that two models wrote would show it, and one that is shorter than what was asked for
was dropped. The pointer moves five times, once to a file that is cut short and once back, while every visitor
asks one question after the other. A pause is the time between two pieces of one answer: the longest is
printed, beside the longest of the same load while nothing moves.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.engine import FULL
from backtalk.errors import BacktalkError
from backtalk.files import read_json
from backtalk.visitor import Server
from bench.chat import promote, running
from bench.report import bound, report
from bench.worded import write_model

CHATS = 20
NAMES = ("oak", "elm", "ash")
BROKEN = "cut-short"
MOVES = ("elm", "ash", BROKEN, "oak", "elm")  # begins with oak; the last but one goes back
QUIET_SECONDS, BETWEEN_SECONDS = 15.0, 5.0  # without a move first; then after each move that has arrived
TOKENS, QUICK_TOKENS = 192, 64
PATIENCE = 120.0
COMPLAINT = "not a whole GGUF"


@dataclass
class Read:
    """One answer as its visitor saw it."""

    begun: float
    pieces: list[float] = field(default_factory=list)
    """when each piece arrived"""
    model: str = ""
    """empty: it was never whole"""
    text: str = ""
    fault: str = ""

    def began_before(self, moment: float) -> bool:
        """Whether it had begun by then and was not whole."""
        return bool(self.pieces) and self.pieces[0] < moment < self.pieces[-1]

    def pauses(self) -> Iterator[tuple[float, float]]:
        """When each pause began, and how long it was, in seconds."""
        for one, next_one in zip(self.pieces, self.pieces[1:], strict=False):
            yield one, next_one - one


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="at most a minute; its figures are not quoted")
    parser.add_argument("--chats", type=int, default=CHATS, help=f"visitors at once (default: {CHATS})")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backtalk-swap-") as folder:
        home = Path(folder)
        words = write_models(home)
        move_to(home, NAMES[0])
        with running(home, model="promoted") as chat:
            reads, moves, arrived = play(chat.server, home, args)
            said = chat.log()
    return tell(reads, moves, arrived, words, said, args.quick)


def write_models(home: Path) -> dict[str, frozenset[str]]:
    """A file for each name, one of them cut short; returns the words of each."""
    words = {
        name: write_model(home / f"{name}.gguf", number, round=number + 1)
        for number, name in enumerate(NAMES)
    }
    whole = (home / f"{NAMES[0]}.gguf").read_bytes()
    (home / f"{BROKEN}.gguf").write_bytes(whole[: len(whole) // 2])
    return words


def move_to(home: Path, name: str) -> None:
    """Moves the pointer to one of the files."""
    number = NAMES.index(name) + 1 if name in NAMES else len(NAMES) + 1
    promote(home, home / f"{name}.gguf", number)


def play(
    server: Server, home: Path, args: argparse.Namespace
) -> tuple[list[Read], list[float], list[tuple[str, float]]]:
    """Lets everybody read while the pointer moves: what they read, when it moved, how each move ended."""
    over, reads = Event(), list[Read]()
    tokens = QUICK_TOKENS if args.quick else TOKENS
    visitors = [
        Thread(target=read_on, args=(server, number, tokens, over, reads)) for number in range(args.chats)
    ]
    for visitor in visitors:
        visitor.start()
    time.sleep(QUIET_SECONDS / 3 if args.quick else QUIET_SECONDS)
    moves, arrived = [], []
    for name in MOVES:
        refused_before = read_json(home / "serving.json")["refused"]
        moves.append(time.monotonic())
        move_to(home, name)
        what = wait_until_seen(home, name, refused_before)
        arrived.append((what, time.monotonic() - moves[-1]))
        print(f"  {name:<10} {what} after {arrived[-1][1]:.1f} s", flush=True)
        time.sleep(BETWEEN_SECONDS / 3 if args.quick else BETWEEN_SECONDS)
    over.set()
    for visitor in visitors:
        visitor.join()
    return reads, moves, arrived


def wait_until_seen(home: Path, name: str, refused_before: Any) -> str:
    """How the chat took a move: "answers" or "refused"."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        serving = read_json(home / "serving.json")
        if serving["refused"] not in ({}, refused_before):
            return "refused"
        if serving["model"]["name"] == name:
            return "answers"
        time.sleep(0.05)
    return "not seen"


def read_on(server: Server, number: int, tokens: int, over: Event, reads: list[Read]) -> None:
    """One visitor: question after question, each in a conversation of its own."""
    token = server.run("enter", {})["visitor"]
    count = 0
    while not over.is_set():
        reads.append(read_one(server, token, f"swap-{number:03}-{count:05}", tokens))
        count += 1


def read_one(server: Server, token: str, name: str, tokens: int) -> Read:
    read = Read(time.monotonic())
    request = {
        "visitor": token,
        "conversation": name,
        "request": name,
        "messages": [],
        "question": f"Which words do you know? {name}",
        "controls": {"temperature": 0.5, "max_tokens": tokens},
    }
    try:
        for step in server.ask(request):
            if "html" in step:
                read.pieces.append(time.monotonic())
            if "answer" in step:
                read.text, ending = step["answer"]["text"], step["answer"]["ending"]["finish_reason"]
                read.model = step["answer"]["model"]["name"] if ending == FULL else ""
                read.fault = "" if ending == FULL else f"it ended with '{ending}'"
            read.fault = read.fault or step.get("error", "")
    except (BacktalkError, OSError, ValueError) as fault:
        read.fault = str(fault)
    return read


def tell(
    reads: list[Read],
    moves: list[float],
    arrived: list[tuple[str, float]],
    words: Mapping[str, frozenset[str]],
    said: str,
    quick: bool,
) -> int:
    """Prints what happened; the exit code."""
    dropped = [read for read in reads if not read.model]
    mixed = [read for read in reads if read.model and not set(read.text.split()) <= words[read.model]]
    across = [read for read in reads if any(read.began_before(move) for move in moves)]
    quiet, longest = longest_pauses(reads, moves[0])
    print(f"\n{len(reads)} answers, {len(across)} of them while the pointer moved; by model:")
    for name in NAMES:
        print(f"  {name:<10} {sum(read.model == name for read in reads)}")
    print(
        f"longest pause between two pieces: {quiet:.2f} s before the first move, {longest:.2f} s after it\n"
    )
    for read in dropped[:5]:
        print(f"  dropped: {read.fault or read.text[:200]}")
    for read in mixed[:5]:
        print(f"  {read.model}: {_foreign(read, words)}")
    astray = [
        what != ("refused" if name == BROKEN else "answers")
        for name, (what, _) in zip(MOVES, arrived, strict=True)
    ]
    bounds = [
        bound("answers", len(reads), at_least=CHATS),
        bound("answers that were being written at a move", len(across), at_least=1),
        bound("answers dropped", len(dropped), at_most=0),
        bound("answers of two models, or of another than they name", len(mixed), at_most=0),
        bound("moves", len(moves), at_least=5),
        bound("moves that did not end as they should", sum(astray), at_most=0),
        bound("complaints about the broken file, but for one", abs(said.count(COMPLAINT) - 1), at_most=0),
    ]
    seconds = {
        "longest_pause": round(longest, 3),
        "longest_pause_without_moves": round(quiet, 3),
        "until_it_answers": [round(took, 2) for what, took in arrived if what == "answers"],
    }
    report("swap", bounds, seconds=seconds, quick=quick)
    return 0 if all(entry.holds for entry in bounds) else 1


def _foreign(read: Read, words: Mapping[str, frozenset[str]]) -> str:
    """The words that are not the model's own, each with its place and whose it is."""
    whose = {word: name for name, own in words.items() for word in own}
    spoken = enumerate(read.text.split())
    return ", ".join(
        f"'{word}' at {place} (of {whose.get(word, 'no model')})"
        for place, word in spoken
        if word not in words[read.model]
    )


def longest_pauses(reads: list[Read], first_move: float) -> tuple[float, float]:
    """Seconds: of the pauses that began before the first move, and of the others."""
    pauses = [pause for read in reads for pause in read.pauses()]
    before = max((length for at, length in pauses if at < first_move), default=0.0)
    return before, max((length for at, length in pauses if at >= first_move), default=0.0)


if __name__ == "__main__":
    sys.exit(main())
