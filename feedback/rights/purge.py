"""`backtalk flags purge`: removes the texts of a flag from this machine and from the Hub, past and present.

    backtalk flags purge 3f2a

A withdrawal stays, which holds no text and keeps older copies that turn up later withdrawn. Gone are the
rows of the outbox and of the datasets (files rewritten, history squashed, old large files deleted), the
decisions on the flag, the training files of every curated set that used it, and its rows in evaluations, with
the pages and the rounds' reports that quote them. Cards and manifests stay: they hold hashes and ids, so
`backtalk trace` still says what was trained on it. It can be run again; another machine with an outbox of its
own (a replica whose disk is kept) needs its own run.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from backtalk import hub
from backtalk.errors import WordsError
from backtalk.files import writing
from backtalk.home import home
from backtalk.verb import Parser, report_json
from feedback.curate.curated import FILES
from feedback.hub import volume
from feedback.hub.dataset import VARIABLES, named
from feedback.hub.erase import erase, events_in, teaches, without
from feedback.hub.known import KnownFlags
from feedback.hub.segment import Segments
from feedback.hub.sync import Sync
from feedback.revisions import withdrawal
from feedback.rights.produced import remove, rows_of
from feedback.store.decisions import Decisions
from feedback.store.outbox import NAME, Outbox

ID_LENGTH = 36
ROWS = (".jsonl", ".gz")


@dataclass
class Purged:
    """What was removed, and what this run could not reach."""

    flag: str
    rows: int = 0  # of the outbox and of files here
    decisions: int = 0
    sets: list[str] = field(default_factory=list)  # whose training files were deleted
    copies: list[str] = field(default_factory=list)  # damaged outboxes that were kept aside
    rows_on_hub: int = 0
    left: list[str] = field(default_factory=list)  # branches and tags that still hold the past


def main(argv: list[str]) -> int:
    purpose = "Remove a flag's texts everywhere."
    parser = Parser("flags purge", purpose, example="backtalk flags purge 3f2a")
    parser.add_argument("flag", metavar="FLAG", help="the id of a flag (whole, where it is only on the Hub)")
    parser.add_json()
    args = parser.parse_args(argv)
    done = purge(args.flag)
    for line in _told(done):
        print(line)
    if args.json:
        report_json(vars(done))
    return 1 if done.left else 0


def purge(flag: str) -> Purged:
    """Removes the texts of the flag; where something is out of reach, it says so and can be run again."""
    datasets = [dataset for dataset in VARIABLES if named(dataset) and hub.has_token()]
    with closing(Outbox(home() / NAME)) as outbox:
        done = Purged(_whole_id(outbox, flag))
        _withdraw(outbox, datasets, done.flag)
        done.rows += outbox.forget(done.flag)
        _purge_home(done)
        if datasets:
            Sync(outbox).flush()  # the withdrawal is there before the texts go
    for dataset in datasets:
        erased = erase(named(dataset), done.flag)
        done.rows_on_hub += erased.rows
        done.left += erased.left
    return done


def _whole_id(outbox: Outbox, flag: str) -> str:
    found = KnownFlags(outbox).find(flag) if flag else []
    if len(found) > 1:
        raise WordsError(
            f"'{flag[:ID_LENGTH]}' begins several ids: {', '.join(found[:3])} ... Give more of it."
        )
    if not found and len(flag) != ID_LENGTH:
        raise WordsError(
            f"There is no flag '{flag[:ID_LENGTH]}' here. If it is only on the Hub, give its whole id."
        )
    return found[0] if found else flag.lower()


def _withdraw(outbox: Outbox, datasets: list[str], flag: str) -> None:
    """Makes a withdrawal the last event, whatever was last, and decides where it is to be sent."""
    events = outbox.history(flag)
    events += [event for dataset in datasets for event in events_in(named(dataset), flag)]
    if not events:
        raise WordsError(f"There is no flag '{flag}' here. See: backtalk flags list")
    last = max(events, key=lambda event: (event.revision, event.op == "retract"))
    if last.op != "retract":
        outbox.save(withdrawal(last))
    while Segments(outbox).seal():  # while the outbox still knows what was sent, and where to
        pass


def _purge_home(done: Purged) -> None:
    done.decisions = Decisions.at_home().forget(done.flag)
    done.rows += volume.forget(done.flag)
    done.rows += remove(rows_of(done.flag))  # while sets and rounds name the flag
    for folder in sorted((home() / "curated").glob("*/")):
        files = [folder / f"{name}.jsonl" for name in FILES]
        if any(path.is_file() and teaches(path.read_bytes(), done.flag) for path in files):
            for path in files:
                path.unlink(missing_ok=True)
            done.sets.append(folder.name)
    for path in sorted(home().rglob("*.jsonl*")):
        if path.suffix in ROWS and path.name != "manifest.jsonl":
            done.rows += _rewrite(path, done.flag)
    for path in sorted(home().glob(f"{NAME}.aside-*")):
        if done.flag.encode() in path.read_bytes():
            path.unlink()
            done.copies.append(path.name)


def _rewrite(path: Path, flag: str) -> int:
    """Takes the flag's rows out of a file; returns how many."""
    kept, gone = without(path.read_bytes(), path.name, flag)
    if gone:
        with writing(path) as file:
            file.write(kept)
    return gone


def _told(done: Purged) -> Iterator[str]:
    yield f"Flag {done.flag}: a withdrawal without text is all that is left of it here."
    yield f"  {done.rows} rows on this machine and {done.decisions} decisions were removed"
    yield f"  {done.rows_on_hub} rows on the Hub were removed, with the history of their datasets"
    if done.sets:
        yield f"  the training files of the curated sets {', '.join(done.sets)} were deleted: backtalk curate"
    if done.copies:
        yield f"  copies of a damaged outbox were deleted: {', '.join(done.copies)}"
    for place in done.left:
        yield f"  still holding the past: {place}. Delete it, then run this again"
    yield "What was trained on it stays until the next round: backtalk trace FLAG lists it."
