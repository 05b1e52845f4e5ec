"""`backtalk flags`: what visitors flagged, as a table, or one flag whole.

    backtalk flags list --verdict bad --reason outdated
    backtalk flags show 3f2a

Contributors' words are shown as plain text: no markup is interpreted, and a character that could steer the
terminal or turn the direction of writing is shown as its code.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backtalk.errors import WordsError
from backtalk.home import home
from backtalk.verb import Parser, report_json
from feedback.hub.fetch import can_fetch, catch_up
from feedback.hub.fetched import Fetched
from feedback.hub.known import KnownFlags
from feedback.hub.sending import add_sync
from feedback.schema import VERDICTS, FlagEvent, Message, to_row
from feedback.store.outbox import NAME, Outbox
from feedback.taxonomy import taxonomy

WIDTH_IN_A_PIPE = 140  # columns; a terminal has its own
COLUMNS = {  # of the table, each with what it keeps where there is little room
    "flag": 8, "when": 16, "verdict": 7, "reasons": 10, "model": 6, "comment or correction": 10, "answer": 10,
}  # fmt: skip
SHORT_ID = 8  # characters of an id in the table: enough to name a flag
STEERING = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
NOTHING_YET = "No flags yet. Visitors make them with the thumbs under an answer: backtalk chat"


def main(argv: list[str]) -> int:
    parser = Parser("flags", "What visitors flagged.", example="backtalk flags list --reason outdated")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _add_list(verbs)
    _add_show(verbs)
    add_sync(verbs)
    args = parser.parse_args(argv)
    return args.run(args)


def escaped(text: str) -> str:
    """Text that a terminal can only show: whatever could steer it becomes a visible code."""
    return STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def list_flags(args: argparse.Namespace) -> int:
    if args.reason:
        taxonomy().reason(args.reason)  # a typo is an error, not an empty table
    with opened_flags() as known:
        chosen = (event for event in known.standing() if _fits(event, args)) if known else iter(())
        flags = list(islice(chosen, args.limit))
        total = known.count() if known else 0
    if flags:
        _print_table(flags)
        print(f"{len(flags)} of {total} flags, the newest first. One of them whole: backtalk flags show FLAG")
    else:
        print(f"None of {total} flags fits. Try fewer filters." if total else NOTHING_YET)
    if args.json:
        report_json({"flags": [_summary(event) for event in flags], "standing": total})
    return 0


def show_flag(args: argparse.Namespace) -> int:
    with opened_flags() as known:
        name = _named(known, args.flag)
        events = known.history(name) if known else []
    last = events[-1]
    for line in (*_state(last), *_history(events)):
        print(escaped(line))
    if args.json:
        report_json(
            {"flag_id": name, "state": _state_row(last), "events": [to_row(event) for event in events]}
        )
    return 0


def _add_list(verbs: "argparse._SubParsersAction[Parser]") -> None:
    purpose = "the flags that stand, the newest first"
    parser = verbs.add_parser(
        "list", help=purpose, description=purpose, example="backtalk flags list --verdict bad"
    )
    parser.add_argument(
        "--model", default="", metavar="NAME", help="only answers of models with this in their name"
    )
    parser.add_argument(
        "--reason", default="", metavar="ID", help="only flags with this reason, e.g. outdated"
    )
    parser.add_argument("--verdict", default="", choices=VERDICTS, help="only flags with this verdict")
    parser.add_argument(
        "--limit", type=_positive, default=50, metavar="N", help="at most this many (default: 50)"
    )
    parser.add_json()
    parser.set_defaults(run=list_flags)


def _add_show(verbs: "argparse._SubParsersAction[Parser]") -> None:
    purpose = "one flag whole: its state and how it came about"
    parser = verbs.add_parser("show", help=purpose, description=purpose, example="backtalk flags show 3f2a")
    parser.add_argument("flag", metavar="FLAG", help="the id of a flag, or its beginning")
    parser.add_json()
    parser.set_defaults(run=show_flag)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


@contextmanager
def opened_flags() -> Iterator[KnownFlags | None]:
    """The flags of the state folder; None where nobody has flagged yet and nothing was ever fetched.

    What others sent is fetched the first time; later it is as the last sync, review or curate left it.
    """
    path = home() / NAME
    if not path.exists() and not can_fetch():
        yield None
        return
    with closing(Outbox(path)) as outbox, closing(Fetched.beside(outbox)) as fetched:
        missed = catch_up(outbox) if not fetched.heads() and can_fetch() else ""
        for notice in filter(None, (outbox.notice, missed)):
            print(notice, file=sys.stderr)
        known = KnownFlags(outbox, fetched)
        yield known
        for refusal in known.refused:
            print(refusal, file=sys.stderr)


def _named(known: KnownFlags | None, prefix: str) -> str:
    found = known.find(prefix) if known and prefix else []
    if len(found) == 1:
        return found[0]
    if found:
        raise WordsError(
            f"'{prefix}' begins the ids of several flags: {', '.join(found[:3])} ... Give more of it."
        )
    raise WordsError(f"There is no flag '{prefix[:40]}' here. See: backtalk flags list")


def _fits(event: FlagEvent, args: argparse.Namespace) -> bool:
    return (
        args.verdict in ("", event.verdict)
        and args.model.lower() in f"{event.model.name} {event.model.repo}".lower()
        and (not args.reason or args.reason in [reason.id for reason in event.reasons])
    )


def _print_table(flags: list[FlagEvent]) -> None:
    table = Table(box=None, pad_edge=False)
    for name, narrowest in COLUMNS.items():
        table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=narrowest)
    for event in flags:
        row = _summary(event)
        said = row["comment"] or row["correction"]
        when = row["created_at"][:16].replace("T", " ")
        cells = (row["flag_id"][:SHORT_ID], when, row["verdict"], ", ".join(row["reasons"]), row["model"])
        table.add_row(*(Text(_one_line(cell)) for cell in (*cells, said, row["answer"])))
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_IN_A_PIPE)
    console.print(table)


def _summary(event: FlagEvent) -> dict:
    return {
        "flag_id": event.flag_id,
        "revision": event.revision,
        "created_at": event.created_at,
        "verdict": event.verdict,
        "severity": event.severity,
        "reasons": [reason.id for reason in event.reasons],
        "model": event.model.name,
        "comment": event.comment,
        "correction": event.correction.text,
        "answer": event.answer.text,
    }


def _one_line(text: str, longest: int = 50) -> str:
    line = escaped(" ".join(text.split()))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _state_row(last: FlagEvent) -> dict | None:
    return to_row(last) if last.op != "retract" else None


def _state(event: FlagEvent) -> Iterator[str]:
    yield f"flag       {event.flag_id}, revision {event.revision}"
    if event.op == "retract":
        yield f"withdrawn  {event.created_at}"
        return
    yield f"verdict    {event.verdict}{', ' + event.severity if event.severity else ''}"
    yield f"reasons    {', '.join(reason.id for reason in event.reasons) or 'none given'}"
    if event.hazards:
        yield f"hazards    {', '.join(f'{name} {taxonomy().hazards[name]}' for name in event.hazards)}"
    by = event.contributor
    yield f"flagged    {event.created_at} by {by.pseudonym[:SHORT_ID]} ({by.kind})"
    yield f"consent    {event.consent.scope or 'none: it stays on this machine'}"
    yield from _what_answered(event)
    yield from _block("system prompt", event.sent.system_prompt)
    yield f"shown      {len(event.shown.messages)} above the answer, {event.shown.omitted} earlier not kept"
    for message in event.shown.messages:
        yield from _block(_role(message, event), message.content)
    yield from _block("answer", event.answer.text)
    yield from _block("comment", event.comment)
    yield from _block(f"correction ({event.correction.kind})", event.correction.text)
    masked = [f"{found.count} {found.kind} in {found.where}" for found in event.redactions]
    yield f"masked     {', '.join(masked) or 'nothing'}"


def _what_answered(event: FlagEvent) -> Iterator[str]:
    model, sampling, sent, answer = event.model, event.sampling, event.sent, event.answer
    file = f"{model.gguf_file} {model.quant} sha256 {model.gguf_sha256[:8]}"
    yield f"model      {model.name}, round {model.round}, {file}"
    yield (
        f"sampling   temperature {sampling.temperature:g}, top-p {sampling.top_p:g}, top-k {sampling.top_k}, "
        f"at most {sampling.max_tokens} tokens, seed {sampling.seed}"
    )
    yield f"sent       history {sent.history_mode or 'unknown'}, {sent.prompt_tokens} tokens"
    yield f"ended      {answer.finish_reason or 'unknown'}, {answer.completion_tokens} tokens"


def _role(message: Message, event: FlagEvent) -> str:
    return f"{message.role}, {'sent' if message.id in event.sent.message_ids else 'not sent'}"


def _block(title: str, text: str) -> Iterator[str]:
    if text:
        yield title
        yield from (f"    {line}" for line in text.split("\n"))


def _history(events: list[FlagEvent]) -> Iterator[str]:
    yield f"history    {len(events)} events"
    for event in events:
        reasons = ", ".join(reason.id for reason in event.reasons)
        yield f"    {event.revision}  {event.created_at}  {event.op}  {event.verdict}  {reasons}".rstrip()
