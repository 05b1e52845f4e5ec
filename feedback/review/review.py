"""`backtalk flags review`: decide on flags in the terminal, one key each.

    a accept   w accept with your own wording   r reject   n needs a reference   s the machine's fault
    x unsafe   space later   u undo   q quit

Flags on which two maintainers decided apart come first, then the most valuable; near-duplicates at once.
Contributors' words are shown as plain text. Without a terminal the keys are read from lines, so that a script
can decide too. Where a dataset is set, everybody's flags and decisions are fetched first, and yours are sent
at the end.
"""

import getpass
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

from backtalk.errors import BacktalkError
from backtalk.home import home
from backtalk.verb import Parser, report_json
from feedback.hub.dataset import VARIABLES, named
from feedback.hub.fetch import can_fetch, catch_up
from feedback.hub.fetched import Fetched
from feedback.hub.known import KnownFlags
from feedback.hub.sync import Sync, status
from feedback.review.flags import escaped
from feedback.review.triage import Desk, Group
from feedback.schema import FlagEvent
from feedback.store.decisions import Conflict, Decisions, OvertakenError, Review
from feedback.store.outbox import NAME, Outbox
from feedback.taxonomy import taxonomy

DECIDE = {"a": "accepted", "r": "rejected", "n": "needs_reference", "s": "system", "x": "safety"}
OWN_WORDS, LATER, UNDO, QUIT = "w", " ", "u", "q"
KEYS = (
    "[a]ccept [w]ording of yours [r]eject [n]eeds reference [s]ystem [x] unsafe [space] later [u]ndo [q]uit"
)
MARKS = {
    "fast": "flagged within a moment of the answer",
    "copied": "the same words from several contributors",
    "apart": "two maintainers decided apart, and nobody has since; decide once more to settle it",
    "many": "a contributor with very many flags in an hour",
    "one_voice": "by contributors who always say the same of the same questions; they count as one",
}

SEND_SECONDS = 30.0
SENT = "What may leave this machine is on the Hub."

Ask = Callable[[str], str]


def main(argv: list[str]) -> int:
    parser = Parser(
        "flags review", "Decide on flags, one key each.", example="backtalk flags review --by ada"
    )
    parser.add_argument("--by", default="", metavar="NAME", help="who decides (default: your name here)")
    parser.add_json()
    args = parser.parse_args(argv)
    if not (home() / NAME).exists() and not can_fetch():
        raise BacktalkError("There are no flags to review. Visitors make them in: backtalk chat")
    with closing(Outbox(home() / NAME)) as outbox, closing(Fetched.beside(outbox)) as fetched:
        if missed := catch_up(outbox):
            print(missed, file=sys.stderr)
        known = KnownFlags(outbox, fetched)
        queue = Queue(known, Decisions.at_home(), args.by or getpass.getuser())
        done = Session(queue, read_key, read_line).run()
        for refusal in known.refused:
            print(refusal, file=sys.stderr)
        print(f"{done} decided.")
        if done and any(map(named, VARIABLES)):
            Sync(outbox).flush(SEND_SECONDS)
            reached = status(outbox)
            print(reached.sentence if reached.waits else SENT)
    if args.json:
        report_json({"decided": done})
    return 0


class Queue(Desk):
    """A maintainer's desk with the flags on top on which others decided apart."""

    def __init__(self, flags: KnownFlags, decisions: Decisions, by: str) -> None:
        super().__init__(flags, decisions, by)
        self._known_flags, self._known = flags, decisions
        self.conflicts: dict[str, Conflict] = {}

    def queue(self) -> list[Group]:
        self.conflicts = self._known.conflicts()
        undecided = super().queue()
        there = {flag.flag_id for group in undecided for flag in group.flags}
        apart = [
            Group((flag,), (conflict.stands,), conflict.stands.state, False, ("apart",))
            for name, conflict in self.conflicts.items()
            if name not in there and (flag := self._known_flags.current(name))
        ]
        return [*apart, *undecided]


class Session:
    """A maintainer going through the queue."""

    def __init__(self, desk: Queue, key: Ask, line: Ask) -> None:
        self._desk = desk
        self._key = key
        self._line = line

    def run(self) -> int:
        """Goes on until the queue is empty or the maintainer quits; returns how many groups were decided."""
        waiting, decided = self._desk.queue(), 0
        while waiting:
            group = waiting[0]
            for text in shown(group, len(waiting), self._desk.conflicts):
                print(text)
            key = self._key(KEYS)
            if key == QUIT:
                break
            if key == LATER:
                waiting.append(waiting.pop(0))
            elif key == UNDO:
                back = self._desk.undo()
                decided -= back is not None
                waiting = [back, *waiting] if back else waiting
            elif key in DECIDE or key == OWN_WORDS:
                waiting, decided = self._decide(key, waiting, decided)
        return decided

    def _decide(self, key: str, waiting: list[Group], decided: int) -> tuple[list[Group], int]:
        wording = self._line("The right answer: ") if key == OWN_WORDS else ""
        if key == OWN_WORDS and not wording.strip():
            return waiting, decided
        try:
            self._desk.decide(waiting[0], DECIDE.get(key, "accepted"), correction=wording)
        except OvertakenError as fault:
            print(fault)
            return self._desk.queue(), decided
        return waiting[1:], decided + 1


def shown(group: Group, waiting: int, conflicts: Mapping[str, Conflict]) -> Iterator[str]:
    """A group as lines of plain text."""
    flag = group.first
    yield ""
    yield f"{waiting} waiting · {_about(group)}"
    for message in flag.shown.messages:
        given = "" if message.id in flag.sent.message_ids else ", not sent to the model"
        yield from _block(f"{message.role}{given}", message.content)
    yield from _block(f"answer of {flag.model.name}, round {flag.model.round}", flag.answer.text)
    yield from _block("correction", flag.correction.text)
    yield from _block("comment", flag.comment)
    reasons = [taxonomy().reason(reason.id).label for reason in flag.reasons]
    yield escaped(f"{flag.verdict}: {', '.join(reasons) or 'no reason given'}")
    yield from (f"note: {MARKS[mark]}" for mark in group.marks)
    for one in group.flags:
        if conflict := conflicts.get(one.flag_id):
            yield f"stands: {_said(conflict.stands)}"
            yield from (f"overtaken: {_said(review)}" for review in conflict.overtaken)


def read_key(prompt: str) -> str:
    """One key from a terminal, the first character of a line from elsewhere; the end is a farewell."""
    print(prompt, end=" ", flush=True)
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line[0] if line.strip("\r\n") else (LATER if line else QUIT)
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        key = sys.stdin.read(1)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    print(key)
    return key.lower() or QUIT


def read_line(prompt: str) -> str:
    """One line; the end is an empty one."""
    print(prompt, end="", flush=True)
    return sys.stdin.readline().rstrip("\r\n")


def _about(group: Group) -> str:
    flag: FlagEvent = group.first
    several = (
        f"{len(group.flags)} flags by {group.contributors} contributors, " if len(group.flags) > 1 else ""
    )
    severity = f"{group.severity}, " if group.severity else ""
    return f"{flag.flag_id[:8]} · {several}{severity}{group.state}{', new question' if group.novel else ''}"


def _said(review: Review) -> str:
    words = (f"{review.state} by {review.by}, {review.at}", review.note, review.correction)
    return escaped(" | ".join(" ".join(text.split()) for text in words if text))


def _block(title: str, text: str) -> Iterator[str]:
    if text:
        yield title
        yield from (f"    {escaped(line)}" for line in text.split("\n"))
