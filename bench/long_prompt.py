"""A long prompt arrives while four visitors are being answered: how long do their words stand still?"""

import random
import threading
import time
from contextlib import closing

from backtalk.engine import Engine, Limits, Sampling, load
from backtalk.models import Model
from backtalk.prompt import Prompt
from bench.peers import Setting
from bench.report import Bound, bound

LONG, VISITORS = 4000, 4
SMALL_BYTES = 100e6  # of a file: the bundled model and its like
SMALL_GAP, LARGE_GAP = 0.4, 1.0  # seconds


def measure(setting: Setting) -> list[Bound]:
    """The longest gap between two pieces of anybody's answer while the prompt is read."""
    model = Model(setting.file.stem, setting.file, "")
    context = max(setting.context, LONG + 512)
    with closing(load(model, context, setting.threads, Limits(live=VISITORS + 1))) as engine:
        length = min(LONG, engine.context - 64)
        seconds, gaps = _gaps(engine, length)
    print(f"a prompt of {length:,} tokens amid {VISITORS} answers: read after {seconds:.1f} s, gaps {gaps}")
    small = setting.file.stat().st_size < SMALL_BYTES
    name = f"longest gap while {length:,} tokens are read, seconds"
    return [bound(name, max(gaps), at_most=SMALL_GAP if small else LARGE_GAP)]


def _gaps(engine: Engine, length: int) -> tuple[float, list[float]]:
    chance = random.Random(4)
    over = threading.Event()
    moments: list[list[float]] = [[] for _ in range(VISITORS)]

    def listen(place: int) -> None:
        while not over.is_set():
            tokens = [chance.randrange(300, 3000) for _ in range(40)]
            stream = engine.stream(
                Prompt(tokens, []), Sampling(temperature=2, top_k=0, top_p=1, max_tokens=400)
            )
            for _ in stream:
                moments[place].append(time.perf_counter())
                if over.is_set():
                    stream.cancel()
            moments[place].append(float("nan"))  # the pause before the next question is no gap

    threads = [threading.Thread(target=listen, args=(place,)) for place in range(VISITORS)]
    for thread in threads:
        thread.start()
    while any(len(moment) < 10 for moment in moments):
        time.sleep(0.01)
    tokens = [chance.randrange(300, 3000) for _ in range(length)]
    began = time.perf_counter()
    list(engine.stream(Prompt(tokens, []), Sampling(temperature=0, max_tokens=1)))
    ended = time.perf_counter()
    over.set()
    for thread in threads:
        thread.join()
    return ended - began, [_longest(moment, began, ended) for moment in moments]


def _longest(moments: list[float], began: float, ended: float) -> float:
    pairs = zip(moments, moments[1:], strict=False)
    gaps = [later - earlier for earlier, later in pairs if later >= began and earlier <= ended]
    return round(max((gap for gap in gaps if gap == gap), default=0.0), 3)
