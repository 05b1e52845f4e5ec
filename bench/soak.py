"""Random turns, edits, other answers, stops, hang-ups and swaps, compressed: memory, leaks, mixed answers.

The real server, spoken to as its page does by twelve visitors who never pause: 6,000 acts are what they would
do in two hours at one every 14 seconds. They come in legs. Amid each leg the pointer moves to the other of
two files with the same weights; after it, when all is quiet, the memory of the server's process is looked at,
contexts of idle conversations left out, since they are kept on purpose up to a limit. The first quarter warms
up: Gradio keeps the message queues of the last 2,000 questions.
"""

import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from shutil import copyfile

from backtalk.engine import CANCELLED, Limits
from backtalk.errors import BacktalkError, BusyError
from backtalk.files import read_json
from backtalk.visitor import Json, Server
from bench.chat import Chat, promote, running
from bench.peers import Setting
from bench.report import Bound, bound
from bench.visitor import question

VISITORS, LEGS, WARM_UP = 12, 12, 3
QUICK_ACTS, QUICK_LEGS = 72, 3
ACTS = {"ask": 45, "fresh": 10, "edit": 12, "again": 10, "stop": 12, "hang up": 11}  # of a hundred
TOKENS = (16, 60)  # of an answer, at most
WITHOUT_HISTORY = 0.2  # of the questions
READ_FIRST = (0, 8)  # pieces of an answer, before a stop or a hang-up
MOST_MESSAGES = 12  # of one conversation
COMPARED = 3  # legs
GROWTH = 0.05  # of memory beside idle contexts, from the first legs after the warm-up to the last ones
CONTEXT = 2048
QUIET_SECONDS = 60.0  # for the last answer of a leg to end and a relieved model to be closed
FILLED_SECONDS = 30.0
WHOLE = 1024  # tokens: what fills every sequence at the end ends late
MB = 1e6


@dataclass
class Seen:
    """What the visitors met."""

    acts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    mixed: int = 0
    """answers with another visitor's secret word in them"""
    stopped: int = 0
    """answers that said they were stopped"""
    models: Counter[str] = field(default_factory=Counter)


class Guest:
    """A visitor with a word of his own, in every question."""

    def __init__(self, server: Server, number: int, seen: Seen):
        self._server, self._number, self._seen = server, number, seen
        self._chance = random.Random(number)
        self._token = server.run("enter", {})["visitor"]
        self._conversation, self._messages, self._count = "", list[Json](), 0
        self._begin()

    def act(self, times: int) -> None:
        for _ in range(times):
            (act,) = self._chance.choices(list(ACTS), list(ACTS.values()))
            self._seen.acts[act] += 1
            try:
                self._do(act)
            except BusyError:
                self._seen.busy += 1
            except (BacktalkError, OSError, HTTPException, ValueError, KeyError) as fault:
                self._seen.errors[f"{act}: {fault!r:.120}"] += 1

    def _begin(self) -> None:
        self._count += 1
        self._conversation, self._messages = f"soak-{self._number:02}-{self._count:05}", []

    def _do(self, act: str) -> None:
        if act == "fresh" or len(self._messages) >= MOST_MESSAGES:
            self._begin()
        has_asked = len(self._messages) >= 2
        if act == "edit" and has_asked:
            del self._messages[-2:]
        said = None if act == "again" and has_asked else f"{_secret(self._number)} {question(self._chance)}"
        leaves_after = self._chance.randint(*READ_FIRST) if act in ("stop", "hang up") else None
        self._ask(said, leaves_after, hangs_up=act == "hang up")

    def _ask(self, said: str | None, leaves_after: int | None, hangs_up: bool) -> None:
        self._count += 1
        request = {
            "visitor": self._token,
            "conversation": self._conversation,
            "request": f"request-{self._number:02}-{self._count:05}",
            "messages": self._messages,
            "question": said,
            "controls": {
                "temperature": 0.7,
                "max_tokens": self._chance.randint(*TOKENS),
                "history": "off" if self._chance.random() < WITHOUT_HISTORY else "full",
            },
        }
        pieces, whole = 0, Json()
        with closing(self._server.ask(request)) as steps:  # type: ignore[type-var]  (it is a generator)
            for step in steps:
                if "error" in step:
                    raise BacktalkError(step["error"])
                whole |= step
                if "html" in step:
                    pieces += 1
                if leaves_after is not None and pieces > leaves_after:
                    if hangs_up:
                        return
                    leaves_after = None
                    self._server.run("stop", {"visitor": self._token, "request": request["request"]})
        self._keep(whole)

    def _keep(self, whole: Json) -> None:
        asked, answer = whole["question"], whole["answer"]
        others = (_secret(number) for number in range(VISITORS) if number != self._number)
        self._seen.mixed += any(word in answer["text"] for word in others)
        self._seen.stopped += answer["ending"]["finish_reason"] == CANCELLED
        self._seen.models[answer["model"]["name"]] += 1
        if self._messages and asked["id"] == self._messages[-2]["id"]:
            del self._messages[-2:]  # another answer to the same question
        self._messages += [asked, answer]


def measure(setting: Setting, acts: int, quick: bool) -> list[Bound]:
    """`acts` in all, by VISITORS visitors; with `quick` a few, which say nothing of the memory."""
    acts, legs = (QUICK_ACTS, QUICK_LEGS) if quick else (acts, LEGS)
    times = max(1, acts // legs // VISITORS)
    seen, samples, swaps = Seen(), list[float](), 0
    with tempfile.TemporaryDirectory(prefix="backtalk-soak-") as folder:
        home = Path(folder)
        files = _twins(setting.file, home)
        promote(home, files[0], 1)
        words = ("--context", str(min(setting.context, CONTEXT)), "--threads", str(setting.threads))
        with running(home, *words, "--metrics", model="promoted") as chat:
            guests = [Guest(chat.server, number, seen) for number in range(VISITORS)]
            for leg in range(1, legs + 1):
                swaps += _leg(home, files[leg % 2], leg, guests, times)
                samples.append(_quiet_bytes(chat))
            left, _ = _at_work(chat)
            filled = _filled(chat)
            log = chat.log()
    _tell(seen, samples)
    return [
        bound("soak: acts", sum(seen.acts.values()), at_least=times * legs * VISITORS),
        bound("soak: swaps while answers were written", swaps, at_least=legs),
        bound(
            "soak: growth of memory, share",
            None if quick else _growth(samples),
            at_most=GROWTH,
            why="--quick" if quick else "",
        ),
        bound("soak: answers still in the making or in line", left, at_most=0),
        bound("soak: sequences that answer at once afterwards", filled, at_least=Limits.live),
        bound("soak: answers with another's secret word", seen.mixed, at_most=0),
        bound("soak: errors", sum(seen.errors.values()), at_most=0),
        bound("soak: tracebacks in the server's log", log.count("Traceback"), at_most=0),
    ]


def _growth(samples: Sequence[float]) -> float:
    first, last = samples[WARM_UP:][:COMPARED], samples[-COMPARED:]
    return statistics.median(last) / statistics.median(first) - 1


def _tell(seen: Seen, samples: Sequence[float]) -> None:
    acts = ", ".join(f"{count:,} {act}" for act, count in sorted(seen.acts.items()))
    print(f"soak: {acts}; {seen.stopped:,} said they were stopped, {seen.busy} were told to wait")
    print(
        f"answers by {dict(seen.models)}; after each leg {', '.join(f'{one / MB:.0f}' for one in samples)} MB"
    )
    for error, count in seen.errors.most_common(5):
        print(f"  {count} times {error}")


def _secret(number: int) -> str:
    return f"zq{number:03d}x"


def _twins(file: Path, home: Path) -> list[Path]:
    """The model twice, as two files to whoever follows a pointer: one has a few bytes more at its end."""
    files = [home / f"{name}.gguf" for name in ("one", "two")]
    for number, path in enumerate(files):
        copyfile(file, path)
        with open(path, "ab") as end:
            end.write(bytes(32 * number))
    return files


def _leg(home: Path, next_file: Path, number: int, guests: Sequence[Guest], times: int) -> int:
    """Everybody acts while the other file is loaded and takes over. Whether it answers at the end."""
    threads = [threading.Thread(target=guest.act, args=(times,)) for guest in guests]
    for thread in threads:
        thread.start()
    promote(home, next_file, number + 1)
    for thread in threads:
        thread.join()
    return _wait(lambda: read_json(home / "serving.json")["model"]["name"] == next_file.stem)


def _quiet_bytes(chat: Chat) -> float:
    """The server's memory when nobody is answered: what is private to it, without idle contexts."""
    _wait(lambda: _at_work(chat)[0] == 0)
    time.sleep(2.0)  # the relieved model is closed after its last answer
    lines = Path(f"/proc/{chat.pid}/status").read_text().splitlines()
    private = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
    return private - chat.metrics()["backtalk_idle_context_bytes"]


def _filled(chat: Chat) -> int:
    """How many answers are written at once when as many are asked for as there are sequences.

    A sequence that was leaked would make the last of them wait for its turn.
    """
    most, ended = 0, threading.Event()

    def ask(number: int) -> None:
        token = chat.server.run("enter", {})["visitor"]
        request = {
            "visitor": token, "conversation": f"filling-{number:05}", "request": f"filling-{number:05}",
            "messages": [], "question": f"tell me more {number}",
            "controls": {"temperature": 2, "top_p": 1, "max_tokens": WHOLE},
        }  # fmt: skip
        while not ended.is_set():
            with suppress(BacktalkError, OSError):
                for _ in chat.server.ask(request):
                    if ended.is_set():
                        return

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(Limits.live)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + FILLED_SECONDS
    while most < Limits.live and time.monotonic() < deadline:
        most = max(most, _at_work(chat)[1])
    ended.set()
    for thread in threads:
        thread.join()
    return most


def _at_work(chat: Chat) -> tuple[int, int]:
    """Answers in the making and in line; those in the making alone."""
    numbers = chat.metrics()
    active = int(numbers["backtalk_active"])
    return active + int(numbers["backtalk_queued"]), active


def _wait(arrived: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        if arrived():
            return True
        time.sleep(0.1)
    return False
