"""A simulated maintainer: goes through the flags that wait, and decides by the fact sheet.

    decided = review(state_folder, {flag_id: fact, ...}, FactSheet(1))

Accepted is a correction that is the sheet's own sentence but for spelling, and a vote on an answer that
deserves it. Everything else is rejected, so that nothing is left undecided.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from feedback.curate.similar import normalised
from feedback.review.triage import Desk
from feedback.schema import FlagEvent
from feedback.store.decisions import NAME as DECISIONS
from feedback.store.decisions import Decisions
from feedback.store.outbox import NAME as OUTBOX
from feedback.store.outbox import Outbox
from training.mini.desk import Fact
from training.mini.stakeholders.sheet import FactSheet

ACCEPTED, REJECTED = "accepted", "rejected"


def review(home: Path, facts: Mapping[str, Fact], sheet: FactSheet, by: str = "maintainer") -> Counter[str]:
    """Decides on every undecided flag of a state folder; returns how many groups got which decision."""
    decided = Counter[str]()
    with closing(Outbox(home / OUTBOX)) as outbox:
        desk = Desk(outbox, Decisions(home / DECISIONS), by)
        for group in desk.queue():
            fact = facts.get(group.first.flag_id)
            state = ACCEPTED if fact and is_sound(group.first, fact, sheet) else REJECTED
            desk.decide(group, state)
            decided[state] += 1
    return decided


def is_sound(flag: FlagEvent, fact: Fact, sheet: FactSheet) -> bool:
    """Whether the flag says what the sheet says."""
    if flag.correction.text:
        return normalised(flag.correction.text) == normalised(sheet.answer(fact))
    return (flag.verdict == "good") == sheet.is_right(fact, flag.answer.text)
