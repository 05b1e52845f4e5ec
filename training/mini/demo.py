"""`backtalk demo`: the whole loop, offline: people flag, a round teaches, the running chat changes.

    backtalk demo
    backtalk demo --folder /data/demo --seed 7

A chat is served on a free port. Simulated stakeholders talk to it over HTTP and flag what is out of date;
`backtalk round` makes a better model of their corrections; the chat takes it up while it runs. Held-out
wordings, which nobody trained on, tell before from after. Ctrl-C ends all of it; the chat dies with the demo.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from backtalk.errors import BacktalkError, WordsError
from backtalk.files import canonical_json, read_json, read_jsonl, write_json
from backtalk.home import home
from backtalk.models import MINI
from backtalk.progress import Progress
from backtalk.round.child import Done, run_verb
from backtalk.verb import Parser, report_json
from backtalk.visitor import Server, Visitor
from training.mini.comparison import Line, compare, draw, held_out, table, wrong_answers
from training.mini.desk import Fact
from training.mini.questions import EvaluationItem, is_right
from training.mini.stakeholders.errands import errands
from training.mini.stakeholders.maintainer import review
from training.mini.stakeholders.person import crowd
from training.mini.stakeholders.sheet import FactSheet, changed_facts
from training.mini.stakeholders.visit import Guests, Visit, flagged_facts, visit

RECIPE = "recipes/mini_round.yaml"
FLAGS, PEOPLE = 200, 24
MAINTAINER = "simulated maintainer"
BATCH = 1  # of the facts that changed
ITEMS = 200  # of a row of the table at most
NOTICED_SECONDS = 120.0  # until the running chat has taken up what was promoted
GATE_SAID_NO = 3
OURS = ("BACKTALK_", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "SPACE_")  # what names begin with that lead out
PICTURE, RESULT = "demo.png", "demo.json"
SHOWN = 3  # questions that are asked again


@dataclass(frozen=True)
class Demo:
    """What was asked for, and where it happens."""

    folder: Path
    flags: int
    seed: int
    recipe: str
    items: int

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


@dataclass(frozen=True)
class Again:
    """One flagged question, asked before the round and after it, in the same running chat."""

    question: str
    then: str
    now: str
    model: str


def main(argv: list[str]) -> int:
    parser = Parser(
        "demo",
        "The whole loop on this machine with simulated stakeholders: some minutes, nothing is downloaded.",
        example="backtalk demo\nbacktalk demo --folder /data/demo --seed 7",
    )
    parser.add_argument(
        "--folder", type=Path, help="state of the demo; kept (default: BACKTALK_HOME/demo, made anew)"
    )
    parser.add_argument("--flags", type=int, default=FLAGS, metavar="N", help=f"how many flags ({FLAGS})")
    parser.add_argument("--seed", type=int, default=1, help="of the people and what they ask (1)")
    parser.add_argument("--recipe", default=RECIPE, metavar="FILE", help=f"the round's recipe ({RECIPE})")
    parser.add_argument(
        "--items", type=int, default=ITEMS, metavar="N", help=f"questions of a row ({ITEMS}; 0: all)"
    )
    parser.add_json()
    args = parser.parse_args(argv)
    if args.flags < 1:
        raise WordsError(f"--flags is {args.flags}; at least 1 was wanted.")
    demo = Demo(_fresh(args.folder), args.flags, args.seed, args.recipe, args.items)
    return run(demo, Progress(), args.json)


def run(demo: Demo, progress: Progress, as_json: bool = False) -> int:
    """The loop, once; prints what came of it and returns the exit code of the round."""
    began = time.monotonic()
    with served(demo.folder) as server:
        progress.done(f"demo: a chat is open at {server.address}")
        guests = Guests(server)
        visits = _flag(demo, guests, progress)
        _review(demo, visits, progress)
        done = _round(demo, progress)
        taken_up = bool(done.said.get("promoted")) and _taken_up(server, done.said["sha256"])
        again = list(_asked_again(Visitor(server), visits))
    lines = _compared(demo, done, progress)
    draw(lines, demo.folder / PICTURE, f"right answers before and after one round of {demo.flags} flags")
    result = _result(demo, done, lines, again, taken_up, time.monotonic() - began)
    write_json(demo.folder / RESULT, result)
    _print(demo, result, lines, again)
    if as_json:
        report_json(result)
    return done.code


def _fresh(folder: Path | None) -> Path:
    """The demo's folder, empty. A folder that was named is never emptied."""
    if folder is None:
        folder = home() / "demo"
        rmtree(folder, ignore_errors=True)
    elif folder.exists() and any(folder.iterdir()):
        raise WordsError(f"{folder} is not empty; name a new folder, so that nothing of yours is mixed in.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def apart(folder: Path) -> dict[str, str]:
    """The environment of the demo's processes: their state is in `folder`, and nothing leads out of it.

    Of ours neither datasets, volume and model nor any key are in it: what was invented here must never reach
    the flags of real people.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**kept, "BACKTALK_HOME": str(folder), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A running chat with its state in `folder`; it ends with the block, or with this process."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    python = [sys.executable, "-m"]
    command = [*python, "backtalk.round.leash", *python, "backtalk", "chat", "--port", str(port)]
    with open(folder / "chat.log", "wb") as log:
        chat = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=apart(folder),
            start_new_session=True,
        )
        try:
            server = Server(f"http://127.0.0.1:{port}")
            server.wait()
            yield server
        finally:
            assert chat.stdin
            chat.stdin.close()
            chat.wait()


def _flag(demo: Demo, guests: Guests, progress: Progress) -> list[Visit]:
    """The stakeholders come, ask about what changed, and flag."""
    people = crowd(demo.seed, honest=PEOPLE)
    tasks = errands(demo.seed, changed_facts(BATCH), people, askers=1)
    visits = visit(guests, tasks, FactSheet(BATCH), demo.flags, progress.report)
    flags = [one.flag for one in visits if one.flag is not None]
    corrected = sum("correction" in flag for flag in flags)
    facts = len(set(flagged_facts(visits)))
    progress.done(
        f"demo: {len(people)} people asked {len(visits)} questions and gave {len(flags)} flags on "
        f"{facts} facts, {corrected} with the right answer"
    )
    return visits


def _review(demo: Demo, visits: Sequence[Visit], progress: Progress) -> None:
    """A maintainer goes through the flags: 200 different questions leave nobody to agree with."""
    of_flag = {one.flag_id: one.errand.about for one in visits if isinstance(one.errand.about, Fact)}
    decided = review(demo.folder, of_flag, FactSheet(BATCH), MAINTAINER)
    told = ", ".join(f"{count} {state}" for state, count in sorted(decided.items()))
    progress.done(f"demo: a simulated maintainer decided on them: {told}")


def _round(demo: Demo, progress: Progress) -> Done:
    words = ["round", demo.recipe, "--include", "accepted", "--by", MAINTAINER, "--offline", "--json"]
    done = run_verb(words, demo.log("round"), progress.report, apart(demo.folder))
    if done.code not in (0, GATE_SAID_NO):
        raise BacktalkError(f"The round did not finish: {done.fault} All of it is in {demo.log('round')}.")
    progress.done(f"demo: the round says {done.said.get('verdict')}: {done.said.get('why')}")
    return done


def _taken_up(server: Server, sha256: str) -> bool:
    """Whether the running chat answers with the promoted file, after a while."""
    deadline = time.monotonic() + NOTICED_SECONDS
    while time.monotonic() < deadline:
        if server.run("status", {})["model"]["gguf_sha256"] == sha256:
            return True
        time.sleep(0.5)
    return False


def _asked_again(visitor: Visitor, visits: list[Visit]) -> Iterator[Again]:
    """Some of the flagged questions, of different facts, asked once more."""
    first = {one.errand.about.id: one for one in reversed(visits) if one.flag is not None}
    for one in list(first.values())[:SHOWN]:
        now = visitor.ask(one.errand.question, temperature=0, history="off")
        name = f"{now.model['name']}, round {now.model['round']}"
        yield Again(one.errand.question, one.answer.text, now.text, name)


def _served_now(demo: Demo) -> Path:
    """The file that the demo's pointer names; the bundled one where nothing was promoted."""
    pointer = demo.folder / "promoted.json"
    if not pointer.exists():
        return MINI
    return demo.folder / read_json(pointer)["file"]


def _compared(demo: Demo, done: Done, progress: Progress) -> list[Line]:
    """Before and after, on held-out wordings; what the gate asked of both models is not asked again."""
    items, served = held_out({BATCH}, demo.items), _served_now(demo)
    rows = _rows_of_gate(demo, done)
    was = {asked: row["baseline"]["answer"] for asked, row in rows.items()}
    now = {asked: row["model"]["answer"] for asked, row in rows.items()}
    before = _wrong("mini", items, was, progress)
    after = _wrong(str(served), items, now, progress) if served != MINI else before
    return compare(before, after, items, {BATCH})


def _rows_of_gate(demo: Demo, done: Done) -> dict[bytes, dict[str, Any]]:
    """What the task test asked both models, by the conversation that they were to go on with."""
    name = done.said["metrics"].get("evaluation", "")
    rows = read_jsonl(demo.folder / "evaluations" / name / "items.jsonl") if name else ()
    return {canonical_json(row["messages"]): row for row in rows if row["part"] == "task"}


def _wrong(
    ref: str, items: Sequence[EvaluationItem], known: Mapping[bytes, str], progress: Progress
) -> dict[str, str]:
    """Wrong answers by the id of their item; who is not known to have answered is asked."""
    told = {item.id: known.get(canonical_json(item.messages), "") for item in items}
    asked = wrong_answers(ref, [item for item in items if not told[item.id]], progress)
    return asked | {
        item.id: told[item.id] for item in items if told[item.id] and not is_right(item, told[item.id])
    }


def _result(
    demo: Demo, done: Done, lines: list[Line], again: list[Again], taken_up: bool, seconds: float
) -> dict[str, Any]:
    return {
        "folder": str(demo.folder),
        "flags": demo.flags,
        "seed": demo.seed,
        "verdict": done.said.get("verdict", ""),
        "why": done.said.get("why", ""),
        "promoted": bool(done.said.get("promoted")),
        "taken_up_while_running": taken_up,
        "rows": [line.as_json() for line in lines],
        "asked_again": [vars(one) for one in again],
        "seconds": round(seconds, 1),
    }


def _print(demo: Demo, result: dict[str, Any], lines: list[Line], again: list[Again]) -> None:
    for one in again:
        print(f"\n{one.question}\n  then  {one.then}\n  now   {one.now}  ({one.model})")
    print(f"\n{table(lines)}\n")
    if not result["promoted"]:
        print(f"The gate said {result['verdict']}, so the model of before answers on. {result['why']}")
    elif result["taken_up_while_running"]:
        print("The chat took the new model up while it was running.")
    else:
        print("The running chat has not taken the promoted model up; a new one would serve it.")
    print(
        f"{result['seconds']:.0f} seconds. The picture, the report and all that was made are in {demo.folder}"
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
