"""Line 9: the same round over a Hub. Three machines share its repositories and nothing else.

At one chat people flag, and it uploads. A maintainer's machine, whose state folder is empty, fetches,
decides, teaches and publishes. Another chat, which follows the model repository, takes the new model over
while it runs. The Hub is that of the tests; each machine has a token that may write what it has to, no more.
"""

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from app.desk.serving import NAME as SERVING
from backtalk.deploy.space import BUNDLED_FIRST
from backtalk.errors import BacktalkError, NetworkError
from backtalk.files import canonical_json, read_json, read_jsonl, sha256_of
from backtalk.models import MINI, POINTER
from backtalk.visitor import Server, Visitor
from bench.loop_parts.setting import Part, Setting, honest_errands
from bench.report import Bound, bound
from bench.serve import free_port
from bench.space import client
from bench.story import OUTBOX, Story
from feedback.hub.dataset import FOLDER, REVIEWS, VARIABLES
from feedback.hub.fetched import Fetched
from feedback.hub.known import KnownFlags
from feedback.review.triage import Desk
from feedback.store.decisions import NAME as DECISIONS
from feedback.store.decisions import Decisions
from feedback.store.outbox import Outbox
from tests.hub.call import Token
from tests.hub.server import Hub
from tests.hub.store import MAIN, Change, Commit, Refused, Repo
from training.mini.desk import desk
from training.mini.stakeholders.maintainer import is_sound
from training.mini.stakeholders.sheet import FactSheet
from training.mini.stakeholders.visit import Guests, visit

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
OWNER = "somebody"
FLAGS, MODEL = f"{OWNER}/flags", f"{OWNER}/desk"
PLACE = f"hf://{MODEL}/{POINTER}"
TOKENS = {
    "hf_chat": Token(OWNER, (FLAGS,)),
    "hf_maintainer": Token(OWNER, (FLAGS, MODEL)),
    "hf_reader": Token(OWNER),
}
DATASET = {VARIABLES["flags"]: FLAGS}
SHEET, BY = FactSheet(1), "bench"
ACCEPT, REJECT = "a", "r"  # keys of `backtalk flags review`
QUESTIONS = 12  # that are put to the following chat, before and after
PATIENCE, STEP, GOODBYE = 600.0, 5.0, 120.0  # seconds for a chat to be there, or to see a pointer; to end
CUT = "the bench was interrupted just when the pointer moved"
OVERRULED = "to be the served one here"


@dataclass(frozen=True)
class Found:
    """What each machine said, and what then lies on the Hub."""

    visitors: Json
    reviewed: Mapping[str, int]
    before: Sequence[Json]
    said: Json
    moved: Json
    picked_up: Json
    after: Sequence[Json]


def run(setting: Setting) -> Part:
    folder = setting.work / f"hub/seed-{setting.seeds[0]}"
    if not (folder / "visitors.json").exists():
        shutil.rmtree(folder, ignore_errors=True)  # half of the flags, perhaps
    with Hub(folder / "hub", tokens=TOKENS) as hub:
        _model_repository(hub)
        story = _machine(setting, hub, folder, "hf_maintainer", DATASET)
        found = _loop(setting, story, hub)
        return Part(
            [*_flags_bounds(story, hub, found), *_model_bounds(story, hub, found)],
            "\n".join(_table(hub, found)),
            {"picked_up": found.picked_up, "moved": found.moved, "reviewed": dict(found.reviewed)},
        )


def _loop(setting: Setting, story: Story, hub: Hub) -> Found:
    """From the first visitor to the chat that answers anew; `story` is the maintainer's machine."""
    visitors = story.piece("visitors", lambda: _visitors(setting, hub, story.folder / "visitors"))
    reviewed = story.piece("review", lambda: _review(story, visitors["flags"]))
    reader, began = _machine(setting, hub, story.folder / "reader", "hf_reader"), datetime.now(UTC)
    with _chat(reader, PLACE) as server:
        before = story.piece("before", lambda: _answers(server, visitors["flags"]))
        recipe = setting.recipe("hub", hub={"dataset": FLAGS, "model": MODEL})
        said = story.round("1", recipe, "accepted", offline=False)
        moved = story.piece("moved", lambda: _moved(story, said))
        picked_up = story.piece("picked-up", lambda: _picked_up(hub, reader, began))
        after = story.piece("after", lambda: _answers(server, visitors["flags"]))
    return Found(visitors, reviewed, before, said, moved, picked_up, after)


def _visitors(setting: Setting, hub: Hub, folder: Path) -> Json:
    """People flag at a chat that uploads: their flags, and how many were on the Hub when it was told to end
    and when it had.
    """
    machine = _machine(setting, hub, folder, "hf_chat", DATASET)
    with _chat(machine, "mini") as server:
        asked, report = honest_errands(setting.seeds[0], askers=1), setting.progress.report
        visits = visit(Guests(server), asked, SHEET, setting.flags, report, at_once=1)
        early = len(_rows(hub, FOLDER))
    ended = len(_rows(hub, FOLDER))
    machine.verb("sync", ["flags", "sync", "--json"])  # what a last flush of ten seconds did not send
    flags = [
        {"flag_id": one.flag_id, "about": one.errand.about.id, "question": one.errand.question}
        for one in visits
        if one.flag is not None
    ]
    return {"flags": flags, "early": early, "ended": ended}


def _review(story: Story, flags: Sequence[Json]) -> dict[str, int]:
    """The maintainer fetches everybody's flags and decides on them, key by key; flags by decision."""
    story.verb("sync", ["flags", "sync", "--json"])
    facts = {fact.id: fact for fact in desk().facts()}
    of_flag = {flag["flag_id"]: facts[flag["about"]] for flag in flags}
    decisions = Decisions(story.home / DECISIONS)
    with closing(Outbox(story.home / OUTBOX)) as outbox, closing(Fetched.beside(outbox)) as fetched:
        waiting = Desk(KnownFlags(outbox, fetched), decisions, BY).queue()
    firsts = [group.first for group in waiting]
    sound = [is_sound(first, of_flag[first.flag_id], SHEET) for first in firsts]
    keys = "".join(f"{ACCEPT if one else REJECT}\n" for one in sound)
    with open(story.folder / "review.log", "ab") as log:
        words = [sys.executable, "-m", "backtalk", "flags", "review", "--by", BY]
        subprocess.run(
            words, cwd=ROOT, env=story.environment, input=keys.encode(), stdout=log, stderr=log, check=True
        )
    return dict(Counter(review.state for review in decisions.standing().values()))


def _moved(story: Story, said: Json) -> Json:
    """Publishes and promotes what the gate did not let pass, and says so."""
    if said["promoted"]:
        return {"by": "the round", "verdict": said["verdict"]}
    candidate = story.candidate(said)
    story.verb("publish", ["publish", str(candidate.parent), "--repo", MODEL, "--json"])
    words = ["promote", str(candidate), "--repo", MODEL, "--by", BY, "--json"]
    story.verb("promote", [*words, "--force", "--why", OVERRULED])
    return {"by": "promote --force", "verdict": said["verdict"]}


def _picked_up(hub: Hub, reader: Story, began: datetime) -> Json:
    """Seconds from the pointer's commit to the chat that answers with its model; none where it never did.

    `running`: whether the chat was there when the pointer moved; where this bench was interrupted just then,
    it was not, and found its model at its start.
    """
    repo = hub.store.repo("model", MODEL)
    wanted, moved = _pointer(repo)["sha256"], datetime.fromisoformat(_moves(repo)[0].date)
    deadline, seen = monotonic() + PATIENCE, None
    while seen is None and monotonic() < deadline:
        model = read_json(reader.home / SERVING)["model"]
        if model["sha256"] == wanted:
            seen = (datetime.fromisoformat(model["since"]) - moved).total_seconds()
        sleep(0.2)
    return {"seconds": seen, "running": began < moved}


def _answers(server: Server, flags: Sequence[Json]) -> list[Json]:
    """Flagged questions, asked again: the answer, whose it is, and whether the sheet says so too."""
    facts = {fact.id: fact for fact in desk().facts()}
    told = []
    for flag in flags[:QUESTIONS]:
        answer = Visitor(server).ask(flag["question"], temperature=0, history="off")
        model = {name: answer.model[name] for name in ("name", "round", "gguf_sha256")}
        right = SHEET.is_right(facts[flag["about"]], answer.text)
        told.append({"question": flag["question"], "text": answer.text, "right": right, **model})
    return told


def _flags_bounds(story: Story, hub: Hub, found: Found) -> list[Bound]:
    """Every flag reached the Hub once, and from there the round, and so did the decisions."""
    given = {flag["flag_id"] for flag in found.visitors["flags"]}
    rows, decided = _rows(hub, FOLDER), _rows(hub, REVIEWS)
    there, events = {row["flag_id"] for row in rows}, {row["event_id"] for row in rows}
    known = {line["flag_id"] for line in read_jsonl(_curated(story, found.said) / "manifest.jsonl")}
    with closing(Outbox(story.home / OUTBOX)) as outbox:
        own = outbox.counts().events
    return [
        bound("segments on the Hub", len(_segments(hub, FOLDER)), at_least=1),
        bound("flags that did not reach the Hub", len(given - there), at_most=0),
        bound("flag events that are there twice", len(rows) - len(events), at_most=0),
        bound("flags of the dataset that the round's set lacks", len(given - known), at_most=0),
        bound("flags in it that came from elsewhere", own + len(known - given), at_most=0),
        bound("flags without a decision on the Hub", len(given - _of_flags(decided)), at_most=0),
    ]


def _model_bounds(story: Story, hub: Hub, found: Found) -> list[Bound]:
    """The file that was judged is the one that is published, named, and answered with; nothing before it."""
    repo = hub.store.repo("model", MODEL)
    pointer, moves = _pointer(repo), _moves(repo)
    published = repo.commit("main").tree[pointer["file"]]
    files = {sha256_of(story.candidate(found.said)), published.lfs, pointer["sha256"]}
    early = [one for one in found.before if one["gguf_sha256"] != sha256_of(MINI)]
    late = [one for one in found.after if (one["round"], one["gguf_sha256"]) != (1, pointer["sha256"])]
    running = found.picked_up["running"]
    took = float(found.picked_up["seconds"] is not None) if running else None
    return [
        bound("files with another sha256 than the candidate", len(files) - 1, at_most=0),
        bound("commits that moved the pointer, but for one", abs(len(moves) - 1), at_most=0),
        bound(
            "of them on another parent than it read",
            sum(one.parent != pointer["revision"] for one in moves),
            at_most=0,
        ),
        bound("answers before it of another model than the bundled one", len(early), at_most=0),
        bound(
            "chats that took it over while they ran",
            took,
            at_least=1,
            why="" if running else CUT,
        ),
        bound("answers after it of another model than round 1's", len(late), at_most=0),
    ]


def _table(hub: Hub, found: Found) -> Iterator[str]:
    flags = found.visitors["flags"]
    decided = ", ".join(f"{count} {state}" for state, count in sorted(found.reviewed.items()))
    early, ended = found.visitors["early"], found.visitors["ended"]
    yield f"{len(flags)} flags given; on the Hub {early} of them while the chat ran, {ended} at its end"
    yield f"fetched by a machine with an empty state folder, and decided: {decided}"
    metrics, moved = found.said["metrics"], found.moved
    used = f"{metrics['used']} of {metrics['flags']} flags are used"
    yield f"round 1: {moved['verdict']}; {used}; {_how(moved)}"
    seconds = found.picked_up["seconds"]
    when = "never" if seconds is None else f"after {seconds:.1f} s"
    yield f"picked up {when} (it looks once a minute)" if found.picked_up["running"] else f"not seen: {CUT}"
    for name, answers in (("before", found.before), ("after", found.after)):
        right, models = sum(one["right"] for one in answers), Counter(_called(one) for one in answers)
        told = ", ".join(f"{count} by {model}" for model, count in models.items())
        yield f"{name}: {right} of {len(answers)} flagged questions right, {told}"
    first, then = found.before[0], found.after[0]
    yield f"  {first['question']}\n    before: {first['text']}\n    after:  {then['text']}"
    asked = Counter(hub.requests)
    yield f"requests since this program began: {', '.join(f'{n} {name}' for name, n in asked.most_common())}"


def _how(moved: Json) -> str:
    if moved["by"] == "the round":
        return "it published and moved the pointer itself"
    return f"so the pointer was moved by `backtalk promote --force --why '{OVERRULED}'`"


def _called(answer: Json) -> str:
    rounds = f"round {answer['round']}, " if answer["round"] else ""
    return f"{answer['name']} ({rounds}{answer['gguf_sha256'][:8]})"


def _machine(
    setting: Setting, hub: Hub, folder: Path, token: str, more: Mapping[str, str] | None = None
) -> Story:
    """A state folder of its own, and an environment in which there is this Hub and no other."""
    return Story(folder, setting.progress, client(hub, folder) | {"HF_TOKEN": token} | dict(more or {}))


@contextmanager
def _chat(machine: Story, ref: str) -> Iterator[Server]:
    """`backtalk chat` on a machine, until SIGTERM; what waits is sent at its end."""
    port = free_port()
    words = [sys.executable, "-m", "backtalk", "chat", "--model", ref, "--port", str(port)]
    with open(machine.folder / "chat.log", "ab") as log:
        process = subprocess.Popen(words, cwd=ROOT, env=machine.environment, stdout=log, stderr=log)
        try:
            yield _ready(Server(f"http://127.0.0.1:{port}"), process)
            process.send_signal(signal.SIGTERM)
            process.wait(GOODBYE)
        finally:
            process.kill()
            process.wait()


def _ready(server: Server, process: "subprocess.Popen[bytes]") -> Server:
    """The chat once its model is there. Raises BacktalkError where it ended before."""
    deadline = monotonic() + PATIENCE
    while process.poll() is None:
        try:
            server.wait(STEP)
            return server
        except NetworkError:
            if monotonic() > deadline:
                raise
    raise BacktalkError(f"The chat at {server.address} ended before its model was ready: see its chat.log.")


def _model_repository(hub: Hub) -> None:
    """As `backtalk deploy space` leaves it: nothing was promoted yet, and the bundled model answers."""
    try:
        hub.store.repo("model", MODEL)
    except Refused:
        repo = hub.store.create("model", MODEL, private=True, author=OWNER)
        pointer = {POINTER: canonical_json(BUNDLED_FIRST) + b"\n"}
        repo.add(Change("Nothing promoted yet", files=pointer), MAIN, OWNER)


def _pointer(repo: Repo) -> Json:
    """What the repository's promoted.json says now."""
    return json.loads(repo.read(repo.commit("main"), POINTER))


def _moves(repo: Repo) -> list[Commit]:
    """The commits that changed the pointer after it was made, the newest first."""
    log = list(repo.log(repo.commit("main")))
    pairs = zip(log, log[1:], strict=False)
    return [one for one, before in pairs if before.tree.get(POINTER) not in (None, one.tree[POINTER])]


def _segments(hub: Hub, under: str) -> list[bytes]:
    """The dataset's files in a folder; none where the dataset was not made yet."""
    try:
        repo = hub.store.repo("dataset", FLAGS)
    except Refused:
        return []
    head = repo.commit("main")
    return [repo.read(head, path) for path in head.tree if path.startswith(f"{under}/")]


def _rows(hub: Hub, under: str) -> list[Json]:
    return [json.loads(line) for content in _segments(hub, under) for line in content.splitlines()]


def _of_flags(decided: Sequence[Json]) -> set[str]:
    return {row["flag_id"] for row in decided}


def _curated(story: Story, said: Json) -> Path:
    return story.home / "curated" / said["metrics"]["curated"]
