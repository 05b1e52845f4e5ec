"""Many visitors at once: how long each waits, how steadily words come, what is read twice; beside the peers.

    python bench/visitors.py [--quick] [--model FILE] [--visitors 8] [--llama-server PATH] [--parts load,...]

Parts: `alone` (one visitor beside llama.cpp's bare loop), `load` (simulated visitors over HTTP against each
server in turn), `long` (a long prompt arrives while four are answered), `exact` (greedy answers beside a bare
single-sequence loop, alone and amid seven others), `soak` (random turns, edits, stops, hang-ups and swaps in
the real server; memory). Ratios are within one run. Without --model it is the bundled model; bench/talker.py
makes one of Llama-3.2-1B's shape.
"""

import argparse
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.engine.llama import ONE_THREAD_BYTES
from backtalk.engine.machine import usable_cores
from backtalk.models import MINI
from bench import exactness, long_prompt, soak
from bench.bare import alone
from bench.growth import draw
from bench.peers import LLAMA_SERVER, LOCKED, OURS, PYTHON_SERVER, Served, Setting, serving
from bench.report import Bound, bound, report
from bench.visitor import Plan, Turn, Visitor
from bench.watched import stolen_seconds

PARTS = ("alone", "load", "long", "exact", "soak")
NOT_GIVEN = "no binary was given with --llama-server"
PROMISED_FROM = 8  # visitors: with fewer, waiting is short for everybody
MB = 1e6


@dataclass
class Load:
    """What `visitors` visitors of one server saw. Seconds, tokens a second, bytes."""

    server: str
    visitors: int
    answered: int
    failed: int
    mixed: int
    """answers with another visitor's secret word in them"""
    seconds: float
    first: list[float]
    """to the first token, of first turns"""
    follow: list[float]
    """to the first token, of later turns"""
    gaps: list[float]
    """the longest within each answer"""
    last: list[float]
    """to the last token, of all turns"""
    tokens: int
    tokens_per_second: float
    per_visitor: float
    """tokens a second from the first token on, median"""
    peak_bytes: int
    read_twice: int | None
    """tokens of prompts that were computed though they had been computed before"""
    stolen: float
    """share of the cores' time that the host gave to others"""


def main() -> int:
    args = _words()
    setting = Setting(args.model, args.context, args.live, args.threads, args.llama_server, args.python_path)
    parts = args.parts.split(",")
    bounds: list[Bound] = []
    more: dict[str, Any] = {}
    if "alone" in parts:
        bounds += alone(setting, rounds=3 if args.quick else 9)
    if "load" in parts:
        loads = [load for count in args.visitors for load in _loads(setting, count, args)]
        more["load"] = [asdict(load) for load in loads]
        bounds += _load_bounds(loads)
        if args.picture:
            draw(_growth(loads), args.picture, "Follow-up questions: seconds to the first token, median")
    if "long" in parts:
        bounds += long_prompt.measure(setting)
    if "exact" in parts:
        bounds += exactness.measure(setting, prompts=10 if args.quick else 100)
    if "soak" in parts:
        bounds += soak.measure(setting, args.soak_acts, args.quick)
    report("visitors", bounds, model=args.model.name, **more)
    return 0 if all(entry.holds is not False for entry in bounds) else 1


def _loads(setting: Setting, count: int, args: argparse.Namespace) -> list[Load]:
    plan = Plan(args.turns, args.think, answers=args.answers)
    most = dict(word.partition(":")[::2] for word in args.servers.split(","))
    kinds = [kind for kind in most if kind != LLAMA_SERVER or setting.llama_server]
    kinds = [kind for kind in kinds if count <= int(most[kind] or count)]
    loads = []
    print(
        f"\n{count} visitors, {plan.turns} turns, answers of {plan.answers[0]} to {plan.answers[1]} tokens, "
        f"thinking {plan.think_seconds:g} s; seconds p50/p95",
        flush=True,
    )
    print(f"{'server':<18}{'first turn':>14}{'follow-up':>14}{'longest gap':>14}{'last token':>14}"
          f"{'tokens/s':>10}{'each':>7}{'answered':>10}{'peak MB':>9}{'read twice':>12}"
          f"{'stolen':>8}")  # fmt: skip
    for kind in kinds:
        with serving(kind, setting, args.log) as served:
            load = visit(served, kind, count, plan, args.seed)
        loads.append(load)
        print(_row(load), flush=True)
    return loads


def visit(served: Served, kind: str, count: int, plan: Plan, seed: int) -> Load:
    """`count` visitors talk to one server at the same time."""
    visitors = [Visitor(number, seed, plan) for number in range(count)]
    talks: list[list[Turn]] = [[] for _ in visitors]

    def talk(place: int) -> None:
        talks[place] = visitors[place].talk(served.address)

    began, stolen = time.perf_counter(), stolen_seconds()
    threads = [threading.Thread(target=talk, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    turns = [turn for talk in talks for turn in talk if not turn.error]
    for error in {turn.error for talk in talks for turn in talk if turn.error}:
        print(f"  {kind}: {error[:200]}")
    return Load(
        kind,
        count,
        answered=len(turns),
        failed=sum(bool(turn.error) for talk in talks for turn in talk),
        mixed=_mixed(visitors, talks),
        seconds=seconds,
        first=[turn.first_token for turn in turns if turn.number == 0],
        follow=[turn.first_token for turn in turns if turn.number],
        gaps=[turn.longest_gap for turn in turns],
        last=[turn.last_token for turn in turns],
        tokens=sum(turn.tokens for turn in turns),
        tokens_per_second=sum(turn.tokens for turn in turns) / seconds,
        per_visitor=_median([_speed(turn) for turn in turns if turn.tokens > 1]),
        peak_bytes=served.peak_bytes(),
        read_twice=_read_twice(talks),
        stolen=(stolen_seconds() - stolen) / seconds / (os.cpu_count() or 1),
    )


def _mixed(visitors: Sequence[Visitor], talks: Sequence[Sequence[Turn]]) -> int:
    secrets = {visitor.secret: visitor.number for visitor in visitors}
    said = ((number, turn.text) for number, talk in enumerate(talks) for turn in talk)
    return sum(
        any(word in text and owner != number for word, owner in secrets.items()) for number, text in said
    )


def _read_twice(talks: Sequence[Sequence[Turn]]) -> int | None:
    """Of each later turn's prompt: what the turn before had read, and was not found again.

    The end of an answer is written, not read: it may be cut into other tokens than it was written in. A
    prompt whose oldest turns no longer fit begins anew for everybody and is left out.
    """
    if any(turn.cached_tokens is None for talk in talks for turn in talk):
        return None
    pairs = ((one, two) for talk in talks for one, two in zip(talk, talk[1:], strict=False))
    whole = (pair for pair in pairs if pair[1].prompt_tokens >= pair[0].prompt_tokens + pair[0].tokens)
    return sum(max(0, one.prompt_tokens - (two.cached_tokens or 0)) for one, two in whole)


def _speed(turn: Turn) -> float:
    seconds = turn.last_token - turn.first_token
    return (turn.tokens - 1) / seconds if seconds > 0 else 0.0


def _load_bounds(loads: Sequence[Load]) -> list[Bound]:
    """The promises of the issue, for each number of visitors."""
    entries = []
    for count in sorted({load.visitors for load in loads}):
        found = {load.server: load for load in loads if load.visitors == count}
        ours = found.get(OURS)
        if ours is None:
            continue
        entries += [
            bound(f"{count} visitors: answers with another's secret word", ours.mixed, at_most=0),
            bound(f"{count} visitors: failed answers", ours.failed, at_most=0),
            bound(f"{count} visitors: tokens of prompts read twice", ours.read_twice, at_most=0),
        ]
        if count < PROMISED_FROM:
            continue
        if python := found.get(PYTHON_SERVER):
            ratio = _median(ours.follow) / _median(python.follow)
            entries.append(
                bound(f"{count} visitors: follow-up p50 / llama-cpp-python's server", ratio, at_most=0.15)
            )
        entries += _beside_llama_server(count, ours, found.get(LLAMA_SERVER))
    return entries


def _beside_llama_server(count: int, ours: Load, theirs: Load | None) -> list[Bound]:
    def ratio(of: Callable[[Load], float]) -> float | None:
        return of(ours) / of(theirs) if theirs and of(theirs) else None

    why = "" if theirs else NOT_GIVEN
    named = f"{count} visitors: {{}} / llama-server"
    follow_p95 = [
        bound(named.format("follow-up p95"), ratio(lambda load: _p95(load.follow)), at_most=0.7, why=why)
    ]
    return [
        bound(named.format("follow-up p50"), ratio(lambda load: _median(load.follow)), at_most=0.7, why=why),
        *(follow_p95 if count > 8 else []),
        bound(named.format("longest gap p95"), ratio(lambda load: _p95(load.gaps)), at_most=0.2, why=why),
        bound(named.format("tokens/s"), ratio(lambda load: load.tokens_per_second), at_least=0.97, why=why),
        bound(named.format("last token p50"), ratio(lambda load: _median(load.last)), at_most=1.1, why=why),
    ]


def _growth(loads: Sequence[Load]) -> dict[str, dict[int, float]]:
    """For each server, how the median of follow-ups grows with the visitors."""
    lines: dict[str, dict[int, float]] = {}
    for load in loads:
        if load.follow:
            lines.setdefault(load.server, {})[load.visitors] = _median(load.follow)
    return lines


def _row(load: Load) -> str:
    pairs = (load.first, load.follow, load.gaps, load.last)
    times = "".join(f"{_median(values):>7.2f}{_p95(values):>7.2f}" for values in pairs)
    twice = "unknown" if load.read_twice is None else f"{load.read_twice:,}"
    return (
        f"{load.server:<18}{times}{load.tokens_per_second:>10.1f}{load.per_visitor:>7.1f}"
        f"{load.answered:>10}{load.peak_bytes / MB:>9.0f}{twice:>12}{load.stolen:>8.0%}"
    )


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.95 * (len(values) - 1)))] if values else 0.0


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="at most a minute; the figures are not quoted")
    parser.add_argument("--model", type=Path, default=MINI, metavar="FILE")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    parser.add_argument(
        "--servers", default=",".join((OURS, LOCKED, PYTHON_SERVER, LLAMA_SERVER)),
        help="in this order; NAME:8 takes part in loads of at most 8 visitors",
    )  # fmt: skip
    parser.add_argument("--visitors", default="8", help="how many, as 1,8,32: one load after the other")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--answers", default="60,170", help="tokens of the shortest and the longest")
    parser.add_argument("--think", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--live", type=int, default=8, help="conversations that are answered at once")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=0, help="of everybody; 0: what the engine takes")
    parser.add_argument("--soak-acts", type=int, default=6000)
    parser.add_argument("--llama-server", type=Path, metavar="PATH", help="llama.cpp's own, as a peer")
    parser.add_argument(
        "--python-path", default="", metavar="DIR", help="what llama_cpp.server needs besides"
    )
    parser.add_argument("--picture", type=Path, metavar="SVG", help="how waiting grows with the visitors")
    parser.add_argument("--log", type=Path, help="where the servers' own words go")
    args = parser.parse_args()
    args.threads = args.threads or (1 if args.model.stat().st_size < ONE_THREAD_BYTES else usable_cores())
    args.visitors = [int(word) for word in args.visitors.split(",")]
    args.answers = tuple(int(word) for word in args.answers.split(","))
    if args.quick:
        args.visitors, args.turns, args.think = [4], 2, 0.2
        args.servers = OURS if args.servers == parser.get_default("servers") else args.servers
    return args


if __name__ == "__main__":
    sys.exit(main())
