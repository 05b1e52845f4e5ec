"""The stakeholders at a chat: each asks, reads, judges, and flags what deserves it.

    visits = visit(Guests(Server(address)), errands, FactSheet(1), flags=200, report=print)

Errands are run until so many flags stand. Several
people are there at once; who is answered first changes no answer, since each errand brings its seed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from threading import Lock

from backtalk.visitor import Answered, Chat, Visitor
from training.mini.stakeholders.errands import Errand
from training.mini.stakeholders.person import Person
from training.mini.stakeholders.reaction import Choice, react
from training.mini.stakeholders.sheet import FactSheet

AT_ONCE = 4
TEMPERATURE = 0.3  # as the page sets it
REPETITIONS = 100  # by somebody who wants to be heard a hundred times
FRUITLESS = 50  # errands in a row without a flag: nobody here will flag anything more


@dataclass(frozen=True)
class Visit:
    """One errand as it went: the answer, and the flag if there was one."""

    errand: Errand
    answer: Answered
    flag: Choice | None
    flag_id: str = ""


class Guests:
    """Everybody's visitor key: a person who comes again is the same contributor."""

    def __init__(self, chat: Chat) -> None:
        self._chat, self._lock = chat, Lock()
        self._visitors: dict[Person, Visitor] = {}

    def visitor(self, person: Person) -> Visitor:
        with self._lock:
            if person not in self._visitors:
                self._visitors[person] = Visitor(self._chat)
            return self._visitors[person]


def visit(
    guests: Guests,
    errands: Iterable[Errand],
    sheet: FactSheet,
    flags: int,
    report: Callable[[str], None] = lambda text: None,
    at_once: int = AT_ONCE,
) -> list[Visit]:
    """Runs errands until `flags` flags are saved, in order; returns all visits, those without a flag too."""
    visits: list[Visit] = []
    waiting, saved, fruitless = iter(errands), 0, 0
    with ThreadPoolExecutor(at_once) as people:
        while saved < flags and fruitless < FRUITLESS:
            group = list(islice(waiting, min(at_once, flags - saved)))
            if not group:
                break
            done = list(people.map(lambda errand: run(guests.visitor(errand.person), errand, sheet), group))
            visits += done
            flagged = sum(one.flag is not None for one in done)
            saved, fruitless = saved + flagged, 0 if flagged else fruitless + len(done)
            report(f"stakeholders: {len(visits)} questions asked, {saved} of {flags} flags")
    return visits


def run(visitor: Visitor, errand: Errand, sheet: FactSheet) -> Visit:
    """One errand: ask alone, without earlier turns, read, perhaps flag."""
    answer = visitor.ask(errand.question, temperature=TEMPERATURE, seed=errand.seed % 2**31, history="off")
    flag = react(errand, answer.text, sheet)
    if flag is None:
        return Visit(errand, answer, None)
    receipt = visitor.flag(answer, flag)
    if errand.person.kind == "repeat":
        for number in range(1, REPETITIONS):
            visitor.flag(answer, {**flag, "comment": f"I say it again, number {number}!"})
    return Visit(errand, answer, flag, receipt["flags"][answer.message]["flag_id"])


def by_kind(visits: Iterable[Visit]) -> Counter[str]:
    """How many flags people of each kind gave."""
    return Counter(one.errand.person.kind for one in visits if one.flag is not None)


def flagged_facts(visits: Iterable[Visit]) -> Iterator[str]:
    """The id of each flag's fact."""
    return (one.errand.about.id for one in visits if one.flag is not None)
