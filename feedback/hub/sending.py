"""`backtalk flags sync`: flags and decisions go to the Hub now, and those of others come from there.

backtalk flags sync
backtalk flags sync --compact       a maintainer's: segments older than a day become shards
"""

import argparse
from contextlib import closing
from dataclasses import asdict
from typing import Any

from backtalk.errors import NetworkError
from backtalk.home import home
from backtalk.verb import Parser, report_json
from feedback.hub.compact import compact
from feedback.hub.dataset import VARIABLES, named
from feedback.hub.fetch import catch_up
from feedback.hub.fetched import Fetched
from feedback.hub.segment import Course
from feedback.hub.sync import Sync, status
from feedback.hub.volume import Keeper, mounted
from feedback.store.outbox import NAME, Outbox


def add_sync(verbs: "argparse._SubParsersAction[Parser]") -> None:
    """Adds the verb to those of `backtalk flags`."""
    purpose = "send consented flags and decisions to the Hub, and fetch those of others"
    parser = verbs.add_parser("sync", help=purpose, description=purpose, example="backtalk flags sync")
    parser.add_argument(
        "--compact", action="store_true", help="then merge what is older than a day into shards (maintainers)"
    )
    parser.add_json()
    parser.set_defaults(run=sync_flags)


def sync_flags(args: argparse.Namespace) -> int:
    course, fetched = _send()
    done = [compact(dataset) for dataset in VARIABLES if named(dataset)] if args.compact else []
    for one in done:
        print(one.sentence)
    if args.json:
        report_json(
            {
                "confirmed": course.confirmed,
                "commit": course.commit,
                "fetched": fetched,
                "compacted": list(map(asdict, done)),
            }
        )
    return 0


def _send() -> tuple[Course, dict[str, Any]]:
    """How far everything has come, and what is here of the datasets."""
    with closing(Outbox(home() / NAME)) as outbox:
        ours, missed = _exchange(outbox)
        reached, fetched = status(outbox), Fetched.beside(outbox).heads()
    if not ours:
        print("Another process of this machine is sending already.")
    elif reached.waits or missed:
        raise NetworkError(f"{reached.sentence} {missed}".strip())
    print(reached.sentence)
    for head in fetched.values():
        print(f"Fetched from {head['repository']}: {head['files']} files, at commit {head['commit'][:7]}.")
    return reached.course, fetched


def _exchange(outbox: Outbox) -> tuple[bool, str]:
    """Whether it was ours to send, and what kept those of others from coming in."""
    folder = mounted()
    keeper = Keeper(outbox, folder) if folder else None
    if keeper:
        keeper.look()  # what a lost disk left on the volume goes too
    ours = Sync(outbox).flush()
    missed = catch_up(outbox) if ours else ""
    if keeper:
        keeper.look()
    return ours, missed
