"""`backtalk flags export`: the events of this machine as JSON lines, byte for byte as a segment holds them.

    backtalk flags export flags.jsonl
    backtalk flags export all.jsonl --without-consent

Left out is what nobody allowed to leave this machine, unless it is asked for. `curate --from` reads the file.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from backtalk.errors import BacktalkError
from backtalk.files import canonical_json, writing
from backtalk.home import home
from backtalk.verb import Parser, report_json
from feedback.schema import FlagEvent, to_row
from feedback.store.outbox import NAME, Outbox


def main(argv: list[str]) -> int:
    purpose = "The events of this machine as JSON lines."
    parser = Parser("flags export", purpose, example="backtalk flags export flags.jsonl")
    parser.add_argument("file", type=Path, metavar="FILE", help="where to write them, e.g. flags.jsonl")
    parser.add_argument("--without-consent", action="store_true", help="also what may not leave this machine")
    parser.add_json()
    args = parser.parse_args(argv)
    if not (home() / NAME).exists():
        raise BacktalkError("There are no flags to write. Visitors make them in: backtalk chat")
    with closing(Outbox(home() / NAME)) as outbox:
        events = outbox.counts().events
        written = _write(_chosen(outbox.events(), args.without_consent), args.file)
    print(f"{written} of {events} events were written to {args.file}")
    if args.json:
        report_json({"file": str(args.file), "written": written, "events": events})
    return 0


def _write(events: Iterable[FlagEvent], path: Path) -> int:
    written = 0
    with writing(path) as file:
        for event in events:
            file.write(canonical_json(to_row(event)) + b"\n")
            written += 1
    return written


def _chosen(events: Iterable[FlagEvent], without_consent: bool) -> Iterator[FlagEvent]:
    """The events to write; a withdrawal comes along, so that what was written earlier is withdrawn too."""
    return (event for event in events if without_consent or event.consent.scope or event.op == "retract")
