"""Every endpoint, asked wrongly some thousands of times: does it ever break, or say what it should not?

    python bench/fuzz.py [--quick] [--calls 5000] [--seed 1]

The real server, with two visitors who have chatted, compared and flagged, and a maintainer who is signed in.
Requests of all kinds (bench/attempts.py) go to the page's endpoints, through Gradio's queue where the page
goes through it, to gradio_client's functions, to OpenAI's protocol and to HTTP itself. A word of the other
visitor must never come back, no maintainer's function may be reached, and afterwards a new visitor is served
as before and every flag of the other one stands as it stood.
"""

import argparse
import json
import re
import secrets
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.errors import BacktalkError
from backtalk.models import MINI
from backtalk.visitor import Comparer, Server, Visitor
from bench.attempts import KINDS, Attempt, Attempts, Material, Person, asked, maintainers, visitors
from bench.chat import Chat, running
from bench.report import bound, report
from bench.wire import JSON, Answer, Request, Wire

CALLS, QUICK_CALLS = 5_000, 300
AT_ONCE = 4
SHOWN = 8  # faults of a kind that are printed
KEY = "k" + secrets.token_hex(16)
SECRET = "quetzalcoatlus"  # the word that only the other visitor says
BROKEN = ("Traceback", "Internal Server Error", "Something went wrong on the server", 'File "/', '.py", line')
COMPLAINTS = re.compile(
    r"^(?:Traceback|ERROR|A request to .* failed|.*Internal Server Error).*$", re.MULTILINE
)
WHERE = re.compile(r'File "([^"]*/(?:app|backtalk|feedback)/[^"]*)", line (\d+)')
NO_SUCH_STREAM = 'data: "404: Not Found"'  # how Gradio refuses a stream that it does not know
COOKIE = "backtalk_account"


@dataclass
class Seen:
    """What came of all attempts."""

    calls: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    """seconds, and what it was"""


def main() -> int:
    args = _words()
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="backtalk-fuzz-") as folder:
        home, beside = Path(folder), Path(folder) / "mini-beside.gguf"
        copyfile(MINI, beside)
        more = {"BACKTALK_COMPARE": str(beside), "BACKTALK_API_KEY": KEY}
        with running(home, "--metrics", more=more) as chat:
            wire = Wire(chat.port)
            material = prepare(chat, wire)
            unknown = sorted(material.functions.keys() - _known(material))
            refused_samples = list(try_samples(wire, material))
            before = flags_of(chat.server, material.other)
            began = time.monotonic()
            play(wire, Attempts(material, args.seed), args.calls, seen)
            seconds = time.monotonic() - began
            served = serves(chat.server)
            lost = len(before ^ flags_of(chat.server, material.other))
            complaints = complaints_in(chat.log())
            strangers = acts_of_strangers(home)
    tell(seen, complaints, refused_samples, unknown)
    print(
        f"{args.calls:,} calls in {seconds:.0f} s, the longest {seen.slowest[0]:.1f} s: {seen.slowest[1]}\n"
    )
    faults = seen.faults
    bounds = [
        bound("calls", args.calls, at_least=QUICK_CALLS if args.quick else CALLS),
        bound("endpoints that are not tried", len(unknown), at_most=0),
        bound("right requests that were not answered", len(refused_samples), at_most=0),
        bound("answers of 5xx, or that broke off", faults["broken"], at_most=0),
        bound("answers with a traceback or an internal text", faults["internal"], at_most=0),
        bound("complaints in the server's log", sum(complaints.values()), at_most=0),
        bound("maintainers' functions reached without the role",
              faults["reached"] + strangers, at_most=0),
        bound("forged or others' things accepted", faults["accepted"], at_most=0),
        bound("answers with the other visitor's word", faults["leaked"], at_most=0),
        bound("flags of the other visitor lost or changed", lost, at_most=0),
        bound("afterwards a visitor chats and flags", float(served), at_least=1),
    ]  # fmt: skip
    report("fuzz", bounds, seed=args.seed, seconds=round(seconds, 1), kinds=dict(seen.calls))
    return 0 if all(entry.holds for entry in bounds) else 1


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_CALLS} calls, at most a minute")
    parser.add_argument("--calls", type=int, default=0, help=f"how many (default: {CALLS:,})")
    parser.add_argument("--seed", type=int, default=1, help="of all that is wrong (default: 1)")
    args = parser.parse_args()
    args.calls = args.calls or (QUICK_CALLS if args.quick else CALLS)
    return args


# --- who is there before ---


def prepare(chat: Chat, wire: Wire) -> Material:
    """Two visitors with conversations, flags and comparisons, and a maintainer."""
    own, other = person(chat.server, "tent"), person(chat.server, SECRET)
    signed_in = _signed_in(chat)
    config = json.loads(wire.send(Request(path="/config")).text)
    functions = {one["api_name"]: (one["id"], len(one["inputs"])) for one in config["dependencies"]}
    models = chat.server.run("contenders", {"visitor": own.token})
    consent = {
        "version": chat.server.run("enter", {})["consent_version"],
        "scope": "flag+thread",
        "training": True,
        "at": "2026-11-21T10:00:00+00:00",
    }
    forged = ("", f"{COOKIE}=maintainer", f"{COOKIE}={signed_in[:-9]}", f"{COOKIE}=gAAAAA{'A' * 200}",
              f"__Host-{COOKIE}={signed_in}", f"{COOKIE}={own.sealed}", f"{COOKIE}={own.token}")  # fmt: skip
    return Material(own, other, models["pair"], consent, functions, f"{COOKIE}={signed_in}", KEY, forged)


def person(server: Server, word: str) -> Person:
    """A visitor who asks twice, flags both answers with their word in it, and compares."""
    visitor = Comparer(server)
    question = f"how long can i return a {word}"
    first = visitor.ask(question, max_tokens=24, system_prompt=f"Say {word}.", temperature=0)
    second = visitor.ask(f"and my {word}?", first, max_tokens=24, temperature=0)
    choice = {
        "verdict": "bad",
        "reasons": ["outdated"],
        "comment": f"a {word}",
        "correction": f"60 days, {word}",
    }
    for answer in (first, second):
        visitor.flag(answer, choice)
    sealed = visitor.compare(question, max_tokens=16)
    visitor.vote(sealed, "a_better")
    flags = server.run("mine", {"visitor": visitor.token})["flags"]
    names = [flag["flag_id"] for flag in sorted(flags, key=lambda flag: bool(flag["choice"]))]  # votes last
    return Person(visitor.token, second.conversation, list(second.messages), names, sealed)


def _signed_in(chat: Chat) -> str:
    """The value of a maintainer's cookie, by the link in the terminal."""
    body = json.dumps({"key": chat.key()}).encode()
    request = urllib.request.Request(f"{chat.server.address}/sign-in", body, JSON)
    with urllib.request.urlopen(request) as answer:
        return str(answer.headers["set-cookie"]).partition(";")[0].partition("=")[2]


def try_samples(wire: Wire, material: Material) -> Iterator[str]:
    """What was to be answered, and was not: everything wrong is made from it."""
    for name, request in visitors(material.own, material).items():
        answer = wire.send(asked(name, request))
        if answer.status != 200 or is_refused(answer):
            yield f"{name}: {answer.status} {answer.text[:200]}"
    for name in ("review_queue", "rounds", "models", "experiments", "set_preview"):
        request = maintainers(material)[name]
        answer = wire.send(asked(name, request, {**JSON, "cookie": material.cookie}))
        if answer.status != 200 or is_refused(answer):
            yield f"{name}: {answer.status} {answer.text[:200]}"


def _known(material: Material) -> set[str]:
    return {*visitors(material.own, material), *maintainers(material), "chat", "flag", "stats"}


# --- the calls ---


def play(wire: Wire, attempts: Attempts, calls: int, seen: Seen) -> None:
    """All of them, some at once; each is judged by itself."""

    def call(number: int) -> tuple[Attempt, Answer, float]:
        attempt, began = attempts.make(number), time.monotonic()
        return attempt, wire.send(attempt.request, number), time.monotonic() - began

    with ThreadPoolExecutor(AT_ONCE) as callers:
        for number, (attempt, answer, took) in enumerate(callers.map(call, range(calls))):
            seen.calls[attempt.kind] += 1
            seen.answered[attempt.kind] += answer.status == 200
            seen.refused[attempt.kind] += is_refused(answer)
            seen.slowest = max(seen.slowest, (took, f"{attempt.kind}, {attempt.request.path[:60]}"))
            for fault in faults_of(attempt, answer):
                seen.faults[fault] += 1
                if seen.faults[fault] <= SHOWN:
                    print(f"  {fault}: call {number} {_short(attempt, answer)}", flush=True)
            if (number + 1) % 500 == 0:
                print(f"{number + 1:>6} calls, {seen.faults.total()} faults", flush=True)


def faults_of(attempt: Attempt, answer: Answer) -> Iterator[str]:
    if answer.status >= 500 or _broke_off(attempt, answer):
        yield "broken"
    if any(text in answer.text for text in BROKEN):
        yield "internal"
    if attempt.refuse and not is_refused(answer):
        yield "reached" if attempt.kind == "no role" else "accepted"
    if attempt.kind != "as maintainer" and SECRET in answer.text:
        yield "leaked"


def is_refused(answer: Answer) -> bool:
    """A calm no: by its status, or in a sentence."""
    return 400 <= answer.status < 500 or any(_sentence(event) for event in answer.events)


def _sentence(event: Any) -> str:
    """Why not, wherever that stands in an event; empty where there is none."""
    if isinstance(event, dict) and isinstance(event.get("data"), list):
        event = event["data"]
    if isinstance(event, list):
        event = event[0] if event else None
    if not isinstance(event, dict):
        return ""
    output = event.get("output")
    error = event.get("error") or (output.get("error") if isinstance(output, dict) else "")
    return str(error) if isinstance(error, str | dict) else ""


def _broke_off(attempt: Attempt, answer: Answer) -> bool:
    """An answer without a status, a stream that ended in an error without a word."""
    if answer.status == 0:
        return attempt.kind != "wire"
    for event in answer.events:
        if not isinstance(event, dict) or event.get("session_not_found"):
            continue
        if event.get("success") is False and not _sentence(event):
            return True
    return "event: error" in answer.text and NO_SUCH_STREAM not in answer.text


def _short(attempt: Attempt, answer: Answer) -> str:
    request = attempt.request
    asked = request.raw or request.body
    return (
        f"[{attempt.kind}] {request.method} {request.path[:80]} {asked[:1200]!r}\n"
        f"      -> {answer.status} {answer.text[:300]!r}"
    )


# --- what is left ---


def serves(server: Server) -> bool:
    """Whether somebody who comes now is answered, and their flag is kept."""
    try:
        visitor = Visitor(server)
        answer = visitor.ask("where is my order 4821?", temperature=0)
        visitor.flag(answer, {"verdict": "good"})
        return bool(answer.text) and server.run("mine", {"visitor": visitor.token})["count"] == 1
    except (BacktalkError, KeyError) as fault:
        print(f"afterwards: {fault}")
        return False


def flags_of(server: Server, whose: Person) -> set[str]:
    """Each flag of theirs as it stands, in one spelling."""
    shown = ("flag_id", "revision", "verdict", "reasons", "comment", "correction", "scope", "choice")
    flags = server.run("mine", {"visitor": whose.token})["flags"]
    return {json.dumps([flag[name] for name in shown]) for flag in flags}


def complaints_in(log: str) -> Counter[str]:
    """What the server complained of, with the last place of ours for each traceback."""
    found: Counter[str] = Counter()
    for match in COMPLAINTS.finditer(log):
        rest = log[match.start() : match.start() + 12_000]
        places = WHERE.findall(rest.partition("\n\n")[0])
        last = re.search(r"^(\w+(?:\.\w+)*(?:Error|Exception)\b.*)$", rest, re.MULTILINE)
        where = f" at {places[-1][0]}:{places[-1][1]}" if places and match[0].startswith("Trace") else ""
        found[f"{match[0][:160]}{where}: {last[1][:160] if last else ''}"] += 1
    return found


def acts_of_strangers(home: Path) -> int:
    """Lines of the maintainers' log by anybody but the one who is signed in here."""
    from app.access.accounts import own_name

    path = home / "actions.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(json.loads(line)["who"] != own_name() for line in lines)


def tell(seen: Seen, complaints: Counter[str], refused_samples: list[str], unknown: list[str]) -> None:
    print(f"\n{'kind':<16}{'calls':>8}{'answered':>10}{'refused':>9}")
    for kind in KINDS:
        print(f"{kind:<16}{seen.calls[kind]:>8,}{seen.answered[kind]:>10,}{seen.refused[kind]:>9,}")
    for line in (*unknown, *refused_samples):
        print(f"  not tried or not answered: {line}")
    for line, count in complaints.most_common(SHOWN):
        print(f"  log, {count} times: {line}")


if __name__ == "__main__":
    sys.exit(main())
