"""`backtalk trace`: from a flag forward to everything that it taught, from a model back to its flags.

    backtalk trace 3f2a               a flag: who answered, which sets use it, what was made of them
    backtalk trace runs/2026-11-21    a set, run, export or round: made of what, and what was made of it
    backtalk trace 9c1f0a77           likewise, from the beginning of a model's sha256 or a message's id

Only cards and manifests are read, so it also answers after a purge has taken the texts away.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.card import Card, read_card
from backtalk.errors import WordsError
from backtalk.files import read_json, read_jsonl
from backtalk.home import home
from backtalk.verb import Parser, report_json
from feedback.hub.known import KnownFlags
from feedback.store.outbox import NAME as OUTBOX
from feedback.store.outbox import Outbox

PLACES = (
    "curated",
    "runs",
    "experiments",
    "exports",
    "rounds",
)  # folders of the state folder that hold cards
PROMOTED = "promoted.json"
SHORTEST = 4  # characters of an id that may stand for it
MOST_FLAGS_TOLD = 20


@dataclass(frozen=True)
class Made:
    """One finished folder, by its card."""

    folder: Path
    card: Card

    @property
    def name(self) -> str:
        return f"{self.card.kind} {self.card.id}"

    @property
    def hashes(self) -> set[str]:
        return {output["sha256"] for output in self.card.outputs if output["bytes"]}


@dataclass
class Lineage:
    """All that was made on this machine, and which was made of which."""

    made: list[Made]
    before: dict[Path, list[Made]] = field(default_factory=dict)
    after: dict[Path, list[Made]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for later in self.made:
            self.before[later.folder] = [
                one for one in self.made if one is not later and _went_into(one, later)
            ]
            for earlier in self.before[later.folder]:
                self.after.setdefault(earlier.folder, []).append(later)

    def forward(self, starts: Iterable[Made]) -> list[Made]:
        """The starts and everything that was made of them, the nearest first."""
        return _reached(starts, self.after)

    def backward(self, starts: Iterable[Made]) -> list[Made]:
        """The starts and everything that they were made of, the nearest first."""
        return _reached(starts, self.before)


@dataclass
class Trace:
    """What was found: where it began, what it was made of, what was made of it."""

    flags: list[str]
    uses: dict[Path, list[str]]  # by set: the rows that are there because of these flags
    back: list[Made]
    forth: list[Made]


def main(argv: list[str]) -> int:
    parser = Parser("trace", "From a flag, answer, run or model, both ways.", example="backtalk trace 3f2a")
    parser.add_argument(
        "x", metavar="X", help="a flag, message, set, run, export, round or sha256, or a folder"
    )
    parser.add_json()
    args = parser.parse_args(argv)
    found = trace(args.x)
    for line in _told(found):
        print(line)
    if args.json:
        report_json(_as_row(found))
    return 0


def trace(x: str) -> Trace:
    """What belongs to X, in both directions. Raises WordsError where no thing or several are called so."""
    lineage = Lineage(list(_all_made(home())))
    if flags := _flags_called(x, lineage):
        uses = {made.folder: rows for made in lineage.made if (rows := rows_of(made.folder, flags))}
        forth = lineage.forward(made for made in lineage.made if made.folder in uses)
        return Trace(sorted(flags), uses, lineage.backward(_answered_by(flags, lineage)), forth)
    start = _made_called(x, lineage.made)
    back = lineage.backward([start])
    behind = sorted({flag for made in back for flag in flags_in(made.folder)})
    return Trace(behind, {}, back[1:], lineage.forward([start]))


def rows_of(folder: Path, flags: Iterable[str]) -> list[str]:
    """The rows of a curated set that are there because of these flags."""
    wanted = set(flags)
    rows = {row for line in _manifest(folder) if line["flag_id"] in wanted for row in line["rows"]}
    sft = folder / "sft.jsonl"  # rows that were replayed from an earlier set are not in the manifest
    lines = read_jsonl(sft) if sft.is_file() else iter(())
    rows |= {f"sft:{line['id']}" for line in lines if wanted & set(line.get("flags", ()))}
    return sorted(rows)


def flags_in(folder: Path) -> set[str]:
    """The flags that a curated set uses."""
    return {line["flag_id"] for line in _manifest(folder) if line["used"]}


def _manifest(folder: Path) -> Iterator[Mapping[str, Any]]:
    path = folder / "manifest.jsonl"
    if folder.parent.name == "curated" and path.is_file():
        yield from read_jsonl(path)


def _all_made(state: Path) -> Iterator[Made]:
    for place in PLACES:
        for path in sorted((state / place).rglob(CARD)):
            yield Made(path.parent, read_card(path.parent))


def _went_into(earlier: Made, later: Made) -> bool:
    """Whether the later card names the earlier folder, one of its files or the hash of one as an input."""
    return any(
        entry.get("sha256") in earlier.hashes or _lies_in(entry.get("path", ""), earlier.folder)
        for entry in later.card.inputs
    )


def _lies_in(path: str, folder: Path) -> bool:
    if not path:
        return False
    place = (home() / path).resolve()  # an absolute path stays as it is
    return place == folder or folder in place.parents


def _reached(starts: Iterable[Made], next_ones: Mapping[Path, list[Made]]) -> list[Made]:
    found: dict[Path, Made] = {}
    waiting = list(starts)
    while waiting:
        made = waiting.pop(0)
        if made.folder not in found:
            found[made.folder] = made
            waiting += next_ones.get(made.folder, [])
    return list(found.values())


def _flags_called(x: str, lineage: Lineage) -> set[str]:
    """The flag that X begins, or the flags on the message X; none where X is something else."""
    known: dict[str, set[str]] = {}
    for flag, message in _flags_of_outbox():
        known.setdefault(flag, set()).add(flag)
        known.setdefault(message, set()).add(flag)
    for made in lineage.made:
        for line in _manifest(made.folder):
            known.setdefault(line["flag_id"], set()).add(line["flag_id"])
    names = (
        [x] if x in known else [name for name in known if len(x) >= SHORTEST and name.startswith(x.lower())]
    )
    if len(names) > 1:
        raise WordsError(f"'{x}' begins several ids: {', '.join(sorted(names)[:3])} ... Give more of it.")
    return known[names[0]] if names else set()


def _flags_of_outbox() -> Iterator[tuple[str, str]]:
    path = home() / OUTBOX
    if path.exists():
        with closing(Outbox(path)) as outbox:
            yield from ((event.flag_id, event.message_id) for event in KnownFlags(outbox).events())


def _answered_by(flags: Iterable[str], lineage: Lineage) -> list[Made]:
    """What made the models that gave the answers of these flags."""
    path = home() / OUTBOX
    if not path.exists():
        return []
    with closing(Outbox(path)) as outbox:
        known = KnownFlags(outbox)
        hashes = {event.model.gguf_sha256 for flag in flags for event in known.history(flag)}
    return [made for made in lineage.made if made.hashes & hashes]


def _made_called(x: str, made: list[Made]) -> Made:
    folder = (home() / x).resolve()
    found = [one for one in made if one.folder in (folder, Path(x).resolve()) or one.card.id == x]
    if not found and len(x) >= SHORTEST:
        hashes = [one for one in made if any(sha.startswith(x.lower()) for sha in one.hashes)]
        found = [one for one in made if one.card.id.startswith(x)] or hashes[:1]
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(one.folder.relative_to(home()).as_posix() for one in found[:3])
        raise WordsError(f"'{x[:60]}' names several: {named}. Give the folder.")
    raise WordsError(
        f"There is no flag, message, set, run, export, round or model '{x[:60]}' in {home()}. "
        "See: backtalk flags list"
    )


def _told(found: Trace) -> Iterator[str]:
    yield from _flags_told(found.flags)
    yield "made of" if found.back else "made of     nothing that has a card here"
    yield from (f"    {_line(made)}" for made in found.back)
    yield "used by" if found.forth else "used by     nothing that has a card here"
    for made in found.forth:
        rows = found.uses.get(made.folder)
        yield f"    {_line(made)}{': ' + ', '.join(rows) if rows else ''}"
    if served := _served(found.forth):
        yield f"promoted    {served.name} is what is served now"


def _flags_told(flags: list[str]) -> Iterator[str]:
    more = f" and {len(flags) - MOST_FLAGS_TOLD} more" if len(flags) > MOST_FLAGS_TOLD else ""
    yield f"flags       {', '.join(flags[:MOST_FLAGS_TOLD]) or 'none'}{more}"


def _line(made: Made) -> str:
    return f"{made.name}  {made.card.created_at}  {made.folder.relative_to(home()).as_posix()}"


def _served(made: list[Made]) -> Made | None:
    """Which of these is the promoted one."""
    path = home() / PROMOTED
    sha = read_json(path).get("sha256", "") if path.is_file() else ""
    return next((one for one in made if sha and sha in one.hashes), None)


def _as_row(found: Trace) -> dict[str, Any]:
    served = _served(found.forth)
    return {
        "flags": found.flags,
        "made_of": [_entry(made, found) for made in found.back],
        "used_by": [_entry(made, found) for made in found.forth],
        "promoted": served.card.id if served else "",
    }


def _entry(made: Made, found: Trace) -> dict[str, Any]:
    return {
        "kind": made.card.kind,
        "id": made.card.id,
        "folder": made.folder.relative_to(home()).as_posix(),
        "rows": found.uses.get(made.folder, []),
    }
