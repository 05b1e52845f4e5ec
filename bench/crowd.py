"""Sixty-four visitors for ten minutes chat, flag, compare and reload: what fails, is lost, or grows?

    python bench/crowd.py [--quick] [--visitors 64] [--minutes 10] [--think 5] [--seed 1]

The real server with the bundled model, spoken to over HTTP as its page does. Each visitor thinks between two
acts; the same seed does the same things with the same pauses. At the end the outbox is read: every flag that
was acknowledged has to be there, as it was last acknowledged. Memory is that of the server's process, with
and without the contexts of idle conversations, which are kept on purpose up to a limit.
"""

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from pathlib import Path
from shutil import copyfile
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.errors import BacktalkError, BusyError
from backtalk.models import MINI
from backtalk.visitor import Answered, Comparer, Json, Server
from bench.chat import Chat, running
from bench.report import Bound, bound, report
from feedback.store.outbox import NAME, Outbox

Found = TypeVar("Found")
VISITORS, MINUTES, THINK_SECONDS = 64, 10.0, 5.0
QUICK_MINUTES, QUICK_VISITORS, QUICK_THINK = 0.4, 16, 1.0
ACTS = {"chat": 55, "flag": 22, "compare": 8, "reload": 15}  # of a hundred
MOST_TURNS = 6  # of one conversation
ARRIVE_SECONDS = 10.0  # in which all of them come, at most
GROWTH = 0.05
SAMPLE_SECONDS = 1.0
WARM_UP = 1 / 4  # of the time
POLITE = {"busy", "waited", "comparing"}  # what the server calls being asked by too many
QUESTIONS = (
    "where is my order 4821?", "how long can i return a tent", "do you ship to france, and at what cost?",
    "what can you do?",
    "which boots are waterproof?", "can i pay by invoice", "my parcel is damaged",
    "how do i change my address", "is the blue jacket warm", "what does the stove weigh", "thank you",
    "who won the world cup in 1998?", "and when is that?", "what about the red one", "i want my money back",
)  # fmt: skip
GOOD, BAD = ("accurate", "clear", "complete"), ("outdated", "factual_error", "incomplete", "too_long")
STREAMS = {"chat": "ask", "compare": "compare"}  # the acts that are answered bit by bit, by endpoint
WIDTHS = (8, 7, 8, 17, 8, 12, 8)
PARTS = 6  # of the time, for the table of memory
VOTES = ("a_better", "b_better", "tie_good", "both_bad")


@dataclass
class Seen:
    """What all visitors together saw; seconds."""

    done: Counter[str] = field(default_factory=Counter)
    busy: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[float]] = field(default_factory=lambda: {"ask": [], "compare": []})
    whole: dict[str, list[float]] = field(default_factory=lambda: {"ask": [], "compare": []})
    acknowledged: dict[str, str] = field(default_factory=dict)
    """by message: the verdict, empty where it was taken back"""
    not_shown: list[str] = field(default_factory=list)
    """flags that a reload did not bring back"""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, line: str) -> None:
        """One more of `done`, `busy` or `errors`."""
        with self._lock:
            getattr(self, what)[line] += 1

    def lines(self, what: str, act: str) -> int:
        return sum(count for line, count in getattr(self, what).items() if line.startswith(f"{act}:"))


@dataclass(frozen=True)
class Sample:
    """The server's memory at a moment; bytes."""

    at: float
    resident: int
    kept: int
    """of it, contexts of idle conversations"""


class Timed(Server):
    """The server as one visitor's browser sees it, with a clock."""

    def __init__(self, address: str, seen: Seen):
        super().__init__(address)
        self._seen = seen

    def stream(self, name: str, request: Json) -> Iterator[Json]:
        began, first, failed = time.perf_counter(), 0.0, False
        for step in super().stream(name, request):
            if step.get("html") and not first:
                first = time.perf_counter() - began
            failed = failed or "error" in step
            yield step
        if first and not failed:
            self._seen.first[name].append(first)
            self._seen.whole[name].append(time.perf_counter() - began)


class Guest:
    """One visitor: comes, acts, thinks, until the time is up."""

    def __init__(self, address: str, number: int, args: argparse.Namespace, seen: Seen):
        self._server, self._seen = Timed(address, seen), seen
        self._chance = random.Random(f"{args.seed} {number}")
        self._think = args.think
        self._talk: Answered | None = None
        self._own: dict[str, str] = {}

    def stay(self, until: float, arrive_seconds: float) -> None:
        time.sleep(self._chance.uniform(0, arrive_seconds))
        visitor = self._tried("reload", lambda: Comparer(self._server))
        acts = {"chat": self._chat, "flag": self._flag, "compare": self._compare, "reload": self._reload}
        while time.monotonic() < until and visitor is not None:
            act = self._chance.choices(list(ACTS), list(ACTS.values()))[0]
            self._tried(act, partial(acts[act], visitor))
            pause = self._chance.expovariate(1 / self._think)
            time.sleep(max(0.0, min(pause, until - time.monotonic())))

    def _tried(self, act: str, do: Callable[[], Found]) -> Found | None:
        """What the act returns; None where it failed, which is counted."""
        try:
            found = do()
        except (BacktalkError, OSError, HTTPException, ValueError, KeyError) as fault:
            is_polite = isinstance(fault, BusyError) or getattr(fault, "name", "") in POLITE
            self._seen.count("busy" if is_polite else "errors", f"{act}: {str(fault)[:120]}")
            return None
        self._seen.count("done", act)
        return found

    def _chat(self, visitor: Comparer) -> None:
        before = self._talk if self._chance.random() < 0.7 else None
        if before and len(before.messages) >= 2 * MOST_TURNS:
            before = None
        self._talk = visitor.ask(self._chance.choice(QUESTIONS), before)

    def _flag(self, visitor: Comparer) -> None:
        """On the newest answer: a first vote, another one, or none any more."""
        if self._talk is None:
            self._chat(visitor)
            return
        message = self._talk.message
        if self._own.get(message) and self._chance.random() < 0.2:
            visitor.withdraw(self._talk)
            self._keep(message, "")
            return
        verdict = self._chance.choice(("good", "bad"))
        reason = self._chance.choice(GOOD if verdict == "good" else BAD)
        choice: Json = {"verdict": verdict, "reasons": [reason]}
        if verdict == "bad":
            choice["correction"] = f"{self._chance.choice((30, 45, 60))} days. {self._talk.text}"[:400]
        visitor.flag(self._talk, choice)
        self._keep(message, verdict)

    def _compare(self, visitor: Comparer) -> None:
        sealed = visitor.compare(self._chance.choice(QUESTIONS))
        voted = visitor.vote(sealed, self._chance.choice(VOTES))
        for message, receipt in voted["receipts"].items():
            self._keep(message, "" if receipt["withdrawn"] else "vote")

    def _reload(self, visitor: Comparer) -> None:
        """The page anew, then what it asks for; a flag that was acknowledged is shown again."""
        for path in ("/", "/config"):
            with urllib.request.urlopen(self._server.address + path, timeout=120) as answer:
                answer.read()
        token = visitor.token
        if self._run("enter", {"visitor": token})["visitor"] != token:
            raise KeyError("the visitor's token was not known again")
        if self._talk:
            known = {"conversation": self._talk.conversation, "messages": list(self._talk.messages)}
            shown = self._run("open", {"visitor": token, **known})["flags"]
            said = {message["id"] for message in self._talk.messages if self._own.get(message["id"])}
            self._seen.not_shown += sorted(said - shown.keys())
        self._run("mine", {"visitor": token, "known": list(self._own)})
        self._run("insights", {})

    def _run(self, name: str, request: Json) -> Json:
        answer = self._server.run(name, request)
        if "error" in answer:
            raise BacktalkError(answer["error"]).called(answer.get("name", ""))
        return answer

    def _keep(self, message: str, verdict: str) -> None:
        self._own[message] = self._seen.acknowledged[message] = verdict


def main() -> int:
    args = _words()
    seen, samples = Seen(), list[Sample]()
    with tempfile.TemporaryDirectory(prefix="backtalk-crowd-") as folder:
        home, beside = Path(folder), Path(folder) / "mini-beside.gguf"
        copyfile(MINI, beside)
        with running(home, "--metrics", more={"BACKTALK_COMPARE": str(beside)}) as chat:
            began = time.monotonic()
            visit(chat, args, seen, samples, began)
            log = chat.log()
        lost, doubled, there = compared_with_outbox(home, seen)
    tell(seen, samples, args)
    beside_contexts = growth(samples, args.minutes, lambda one: one.resident - one.kept)
    in_all = growth(samples, args.minutes, lambda one: one.resident)
    why = "--quick" if args.quick else ""
    bounds: list[Bound] = [
        bound("visitors", args.visitors, at_least=QUICK_VISITORS if args.quick else VISITORS),
        bound("minutes", args.minutes, at_least=QUICK_MINUTES if args.quick else MINUTES),
        bound("answers", len(seen.whole["ask"]), at_least=1 if args.quick else args.visitors),
        bound("errors but the polite busy", sum(seen.errors.values()), at_most=0),
        bound("tracebacks in the server's log", log.count("Traceback"), at_most=0),
        bound("flags acknowledged", len(seen.acknowledged), at_least=1),
        bound("acknowledged flags that are not in the outbox as they were", lost, at_most=0),
        bound("flags in the outbox twice", doubled, at_most=0),
        bound("flags that a reload did not show", len(seen.not_shown), at_most=0),
        bound(
            "growth of memory beside idle contexts", None if why else beside_contexts, at_most=GROWTH, why=why
        ),
    ]
    report(
        "crowd",
        bounds,
        done=dict(seen.done),
        busy=sum(seen.busy.values()),
        flags=there,
        growth_of_all_memory=round(in_all, 4),
        seconds={name: _quantiles(seen, name) for name in seen.first},
        seed=args.seed,
    )
    return 0 if all(entry.holds is not False for entry in bounds) else 1


def visit(chat: Chat, args: argparse.Namespace, seen: Seen, samples: list[Sample], began: float) -> None:
    """Lets everybody come and stay until the time is up; meanwhile memory is looked at."""
    until = began + args.minutes * 60
    arrive = min(ARRIVE_SECONDS, args.minutes * 6)
    address = chat.server.address
    guests = [Guest(address, number, args, seen) for number in range(args.visitors)]
    threads = [threading.Thread(target=guest.stay, args=(until, arrive)) for guest in guests]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with suppress(OSError):  # a look that fails is one fewer; what visitors meet is counted by them
            samples.append(look(chat, time.monotonic() - began))
        time.sleep(SAMPLE_SECONDS)


def look(chat: Chat, at: float) -> Sample:
    """The resident memory of the server, and how much of it idle conversations hold."""
    status = Path(f"/proc/{chat.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    kept = chat.metrics()["backtalk_idle_context_bytes"]
    return Sample(at, resident * 1024, int(kept))


def compared_with_outbox(home: Path, seen: Seen) -> tuple[int, int, int]:
    """Acknowledged flags that are not there as they were said, flags there twice, all flags there."""
    with closing(Outbox(home / NAME)) as outbox:
        standing = list(outbox.standing())
    messages = Counter(event.message_id for event in standing)
    verdicts = {
        event.message_id: "vote" if event.extras.comparison.choice else event.verdict for event in standing
    }
    lost = sum(verdicts.get(message, "") != said for message, said in seen.acknowledged.items())
    return lost, sum(times - 1 for times in messages.values()), len(standing)


def tell(seen: Seen, samples: Sequence[Sample], args: argparse.Namespace) -> None:
    print(f"{args.visitors} visitors, {args.minutes:g} minutes, thinking {args.think:g} s\n")
    heads = ("done", "busy", "errors", "first token p50", "p95", "whole p50", "p95")
    print(f"{'':<10}" + "".join(f"{head:>{WIDTHS[place]}}" for place, head in enumerate(heads)))
    for act in ACTS:
        name = STREAMS.get(act, "")
        counts = [seen.done[act], seen.lines("busy", act), seen.lines("errors", act)]
        row = [f"{count:,}" for count in counts] + [f"{at:.2f}" for at in _quantiles(seen, name)]
        print(f"{act:<10}" + "".join(f"{cell:>{WIDTHS[place]}}" for place, cell in enumerate(row)))
    for kind, found in (("busy", seen.busy), ("error", seen.errors)):
        for line, count in found.most_common(10):
            print(f"  {kind}, {count} times: {line}")
    print(f"\n{'memory, MB':<12}{'resident':>10}{'kept':>8}{'beside':>8}")
    sixth = args.minutes * 60 / PARTS
    for part in range(PARTS):
        within = [one for one in samples if part * sixth <= one.at < (part + 1) * sixth]
        if within:
            resident = statistics.median(one.resident for one in within) / 1e6
            kept = statistics.median(one.kept for one in within) / 1e6
            print(f"  {part + 1}/{PARTS:<7}{resident:>10.0f}{kept:>8.0f}{resident - kept:>8.0f}")
    print()


def growth(samples: Sequence[Sample], minutes: float, of: Callable[[Sample], int]) -> float:
    """From the first third after the warm-up to the last third, medians."""
    warm = [one for one in samples if one.at >= WARM_UP * minutes * 60]
    third = len(warm) // 3
    if not third:
        return 0.0
    return statistics.median(map(of, warm[-third:])) / statistics.median(map(of, warm[:third])) - 1


def _quantiles(seen: Seen, name: str) -> list[float]:
    """Of the time to the first token and to the whole answer: p50 and p95 each; empty for no stream."""
    if name not in seen.first:
        return []
    return [_at(values, share) for values in (seen.first[name], seen.whole[name]) for share in (0.5, 0.95)]


def _at(values: Sequence[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, round(share * (len(values) - 1)))], 3) if values else 0.0


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="at most a minute; the figures are not quoted")
    parser.add_argument("--visitors", type=int, default=0, help=f"at once (default: {VISITORS})")
    parser.add_argument("--minutes", type=float, default=0.0, help=f"they stay (default: {MINUTES:g})")
    parser.add_argument(
        "--think", type=float, default=0.0, help=f"seconds between two acts (default: {THINK_SECONDS:g})"
    )
    parser.add_argument("--seed", type=int, default=1, help="of what they do (default: 1)")
    args = parser.parse_args()
    quick = (QUICK_VISITORS, QUICK_MINUTES, QUICK_THINK)
    visitors, minutes, think = quick if args.quick else (VISITORS, MINUTES, THINK_SECONDS)
    args.visitors, args.minutes = args.visitors or visitors, args.minutes or minutes
    args.think = args.think or think
    return args


if __name__ == "__main__":
    sys.exit(main())
