"""Random turns, edits, other answers and cancels, compressed: memory, leaks, mixed answers."""

import random
import threading
from contextlib import closing
from pathlib import Path

from backtalk.engine import Engine, Limits, Sampling, load
from backtalk.errors import BusyError
from backtalk.models import Model
from bench.peers import Setting
from bench.report import Bound, bound
from bench.visitor import question

VISITORS = 12
GROWTH = 0.05  # of memory beside those contexts, from the first fifth of the turns to the end
KEPT = 2**24  # bytes of RAM for idle conversations: so few that they are dropped too
MB = 1e6


def measure(setting: Setting, turns: int) -> list[Bound]:
    """`turns` in all, by VISITORS threads; every visitor's secret word may come back to him alone."""
    model = Model(setting.file.stem, setting.file, "")
    limits = Limits(live=setting.live, queue=VISITORS, idle_bytes=KEPT)
    with closing(load(model, min(setting.context, 2048), setting.threads, limits)) as engine:
        mixed = _talk(engine, turns // 5, seed=1)
        before = _anonymous() - engine.metrics().idle_bytes
        mixed += _talk(engine, turns - turns // 5, seed=2)
        numbers = engine.metrics()
        after = _anonymous() - numbers.idle_bytes
    print(f"soak: {numbers.asked:,} asked, {numbers.ended}, memory {before / MB:.0f} -> {after / MB:.0f} MB, "
          f"{numbers.restored:,} tokens back from RAM, {numbers.dropped:,} dropped")  # fmt: skip
    return [
        bound("soak: growth of memory, share", after / before - 1, at_most=GROWTH),
        bound("soak: answers still in the making or in line", numbers.active + numbers.queued, at_most=0),
        bound("soak: answers with another's secret word", mixed, at_most=0),
        bound("soak: answers that ended with an error", numbers.ended.get("error", 0), at_most=0),
    ]


def _talk(engine: Engine, turns: int, seed: int) -> int:
    mixed = [0] * VISITORS

    def visit(number: int) -> None:
        mixed[number] = _visit(engine, number, turns // VISITORS, random.Random(seed * 1000 + number))

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(VISITORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(mixed)


def _visit(engine: Engine, number: int, turns: int, chance: random.Random) -> int:
    """One visitor's turns: how many answers held somebody else's word."""
    talk: list[dict[str, str]] = []
    others = [f"zq{other:03d}x" for other in range(VISITORS) if other != number]
    mixed = 0
    for _ in range(turns):
        deed = chance.random()
        if deed < 0.1:
            talk = []  # a new conversation
        elif deed < 0.3 and len(talk) >= 2:
            del talk[-2:]  # an edit of the last question, or another answer to it
        said = f"zq{number:03d}x {question(chance)}"
        talk.append({"role": "user", "content": said})
        sent = talk if chance.random() < 0.8 else talk[-1:]  # history switched off
        sampling = Sampling(temperature=0.7, max_tokens=chance.randint(4, 60), seed=chance.randrange(2**31))
        try:
            stream = engine.stream(engine.prompt(sent, sampling.max_tokens), sampling, f"visitor-{number}")
        except BusyError:
            talk.pop()
            continue
        leaves_after = chance.randint(0, 8) if chance.random() < 0.2 else -1
        text = ""
        for piece, words in enumerate(stream):
            text += words
            if piece == leaves_after:
                stream.cancel()
        mixed += any(word in text for word in others)
        talk.append({"role": "assistant", "content": text})
    return mixed


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
