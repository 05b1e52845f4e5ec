"""Two machines decide at once over a Hub that fails three requests of ten: is every decision there, once?

    python bench/reviews.py [--quick] [--decisions 200] [--seed 1]

Two state folders, each with the same flags; two maintainers, one on each, decide on them in turn, also on
the same flag without knowing of each other, and sync all the while as the app does (`feedback/hub/sync.py`).
The local Hub answers with every kind of fault: errors before and after a commit took effect, connections cut
before, after and in the middle of an answer, delays. At the end both fetch once more without faults, and the
dataset, both machines and a third, fresh one are compared, decision by decision.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

os.environ.update(HF_HUB_DISABLE_XET="1", HF_HUB_OFFLINE="0", HF_TOKEN="hf_write")  # read at import

from backtalk import hub as door
from backtalk.errors import NetworkError
from bench.report import bound, report
from feedback.hub.dataset import REVIEWS, VARIABLES
from feedback.hub.exchange import Exchange
from feedback.hub.sync import Sync, status
from feedback.schema import FlagEvent
from feedback.store.decisions import Decisions, Review, matter_of
from feedback.store.outbox import NAME, Outbox
from tests.feedback.events import flag
from tests.hub.server import Hub

NAMES = {"flags": "somebody/flags", "safety": "somebody/safety"}
STATES = ("accepted", "rejected", "needs_reference")
DECISIONS, QUICK_DECISIONS = 200, 30
FAULTS = 0.3
AT_ONCE = 5  # decisions between two syncs of a machine
MOST_ROUNDS = 50  # of syncing at the end


class Machine:
    """A maintainer and a state folder."""

    def __init__(self, folder: Path, by: str) -> None:
        self.by = by
        self.outbox = Outbox(folder / by / NAME)
        self.made: list[Review] = []
        self.sync = Sync(self.outbox)
        self._exchange = Exchange(self.outbox)

    @property
    def decisions(self) -> Decisions:
        return self._exchange.decisions

    def decide(self, event: FlagEvent, state: str) -> None:
        last = self.decisions.last(event.flag_id)
        after = last.review_id if last else ""
        draft = Review(flag_id=event.flag_id, after=after, state=state, by=self.by, matter=matter_of(event))
        self.made += self.decisions.decide(draft)

    def exchange(self, patience: float) -> None:
        """Sends and fetches; what a fault prevents is done the next time."""
        self.sync.flush(patience)
        for dataset in NAMES:
            with suppress(NetworkError):
                self._exchange.fetch(dataset, patience)

    @property
    def known(self) -> set[str]:
        return {review.content_hash for review in self.decisions.events()}


def main() -> int:
    args = _words()
    began, chance = time.monotonic(), random.Random(args.seed)
    os.environ.update({VARIABLES[dataset]: name for dataset, name in NAMES.items()})
    door.FIRST_PAUSE, door.LONGEST_PAUSE = (
        0.05,
        0.5,
    )  # the Hub is on this machine, and nobody else waits for it
    with tempfile.TemporaryDirectory(prefix="backtalk-reviews-") as name, Hub(Path(name) / "hub") as hub:
        os.environ["HF_ENDPOINT"] = hub.endpoint
        door.load_client()
        ada, bob = Machine(Path(name), "ada"), Machine(Path(name), "bob")
        flags = [_flagged(number) for number in range(args.decisions // 4)]
        for event in flags:
            for machine in (ada, bob):
                machine.outbox.save(replace(event, revision=0))
        hub.faults.at_random(FAULTS, args.seed)
        for number in range(args.decisions):
            machine = chance.choice((ada, bob))
            machine.decide(chance.choice(flags), chance.choice(STATES))
            if number % AT_ONCE == 0:
                machine.exchange(patience=2.0)
        rounds = _until_sent((ada, bob))
        requests, faulty = hub.faults.drawn, hub.faults.dealt
        hub.faults.stop()
        fresh = Machine(Path(name), "fresh")
        for machine in (ada, bob, fresh):
            machine.exchange(patience=60.0)
        there = _there(hub)
        made = {review.content_hash for review in ada.made + bob.made}
        apart = [machine.decisions.conflicts() for machine in (ada, bob, fresh)]
        stands = [machine.decisions.standing() for machine in (ada, bob, fresh)]
        for machine in (ada, bob, fresh):
            machine.outbox.close()
        seconds = time.monotonic() - began
        print(
            f"{len(made)} decisions on {len(flags)} flags, {len(apart[0])} flags decided apart; {requests} "
            f"requests, {faulty} with a fault; {rounds} rounds to send the rest; {seconds:.0f} s\n"
        )
        bounds = [
            bound("decisions made", len(made), at_least=args.decisions),
            bound("share of requests with a fault", faulty / requests, at_least=0.25),
            bound("decisions lost on the Hub", len(made - there.keys()), at_most=0),
            bound("decisions there twice", sum(times - 1 for times in there.values()), at_most=0),
            bound(
                "decisions missing on a machine",
                sum(len(made - machine.known) for machine in (ada, bob, fresh)),
                at_most=0,
            ),
            bound("machines that see another state", sum(one != stands[0] for one in stands), at_most=0),
            bound("machines that see other conflicts", sum(one != apart[0] for one in apart), at_most=0),
        ]
        report("reviews", bounds, requests=requests, conflicts=len(apart[0]), seconds=round(seconds))
        return 0 if all(entry.holds for entry in bounds) else 1


def _flagged(number: int) -> FlagEvent:
    """Every tenth flag is about safety, and so belongs to the other dataset, and decisions on it too."""
    reasons = ("self_harm",) if number % 10 == 0 else ("outdated",)
    return flag(f"visitor-{number}", reasons=reasons, question=f"How long can I send tent {number} back?")


def _until_sent(machines: tuple[Machine, ...]) -> int:
    for rounds in range(MOST_ROUNDS):
        waiting = [machine for machine in machines if status(machine.outbox).waits]
        if not waiting:
            return rounds
        for machine in waiting:
            machine.exchange(patience=10.0)
    return MOST_ROUNDS


def _there(hub: Hub) -> Counter[str]:
    """The decisions in both datasets, each as often as it is there."""
    found: Counter[str] = Counter()
    for name in NAMES.values():
        repo = hub.store.repo("dataset", name)
        head = repo.commit("main")
        for path in head.tree:
            if path.startswith(f"{REVIEWS}/"):
                found.update(json.loads(line)["content_hash"] for line in repo.read(head, path).splitlines())
    return found


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_DECISIONS} decisions, within a minute")
    parser.add_argument("--decisions", type=int, default=0, help=f"how many (default: {DECISIONS})")
    parser.add_argument("--seed", type=int, default=1, help="of faults and decisions (default: 1)")
    args = parser.parse_args()
    args.decisions = args.decisions or (QUICK_DECISIONS if args.quick else DECISIONS)
    return args


if __name__ == "__main__":
    sys.exit(main())
