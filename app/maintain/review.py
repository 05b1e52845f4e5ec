"""The review queue as the page shows it: groups of flags that say the same, each decided once, and undone.

    desk = ReviewDesk()
    desk.look(Wanted(reason="outdated"))
    made = desk.decide("ada", flags, "accepted")      flags as `look` gave them: each with what was seen of it
    desk.undo("ada", made)

The page keeps no lock and the server no session: a decision names, for each flag, the last decision and the
matter that its maintainer saw. Where one of them is another by now, nothing is written and that is said.
Contributors' words go out as text in which nothing can steer what shows it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from backtalk.errors import WordsError, nearest
from backtalk.home import home
from feedback.curate import agreement
from feedback.curate.candidate import Candidate
from feedback.curate.controls import pattern
from feedback.hub.known import KnownFlags
from feedback.review.flags import escaped
from feedback.review.review import Queue
from feedback.review.triage import UNDECIDED, Group, marks_of
from feedback.schema import LONGEST_CORRECTION, FlagEvent
from feedback.store.decisions import Conflict, Decisions, OvertakenError, Review, matter_of
from feedback.store.outbox import NAME, Outbox
from feedback.taxonomy import taxonomy

Json = dict[str, Any]

DECIDED = ("accepted", "rejected", "needs_reference", "system", "safety")
APART = "apart"
STATES = ("", *UNDECIDED, APART, *DECIDED)  # of the filter; empty: all that is undecided
MOST_GROUPS = 50  # that one look brings
MOST_TOGETHER = 1000  # flags of one group


@dataclass(frozen=True)
class Wanted:
    """Which groups a maintainer wants to see. `round` -1: of every round."""

    state: str = ""
    reason: str = ""
    round: int = -1

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise WordsError(f"There is no state '{self.state}'.{nearest(self.state, STATES)}")
        if self.reason:
            taxonomy().reason(self.reason)

    def fits(self, group: Group) -> bool:
        """Whether the group is one of them, its state aside where that is a decided one."""
        return (
            self.state in ("", group.state, *group.marks)
            and (not self.reason or any(self.reason in _reasons(flag) for flag in group.flags))
            and (self.round < 0 or any(flag.model.round == self.round for flag in group.flags))
        )


class ReviewDesk:
    """The queue of this machine's flags; one question at a time."""

    def __init__(self) -> None:
        self._alone = Lock()
        self._outbox: Outbox | None = None

    def look(self, wanted: Wanted, by: str = "") -> Json:
        """The groups that are wanted, the most valuable first, and of how many they are the first."""
        with self._alone:
            known, decisions = self._known(), Decisions.at_home()
            queue = Queue(known, decisions, by)
            groups = _decided(known, decisions, wanted.state) if wanted.state in DECIDED else queue.queue()
            conflicts = queue.conflicts or decisions.conflicts()
        fitting = [group for group in groups if wanted.fits(group)]
        return {
            "groups": [_told(group, conflicts) for group in fitting[:MOST_GROUPS]],
            "waiting": len(fitting),
            "rounds": sorted({flag.model.round for group in groups for flag in group.flags}),
        }

    def decide(self, by: str, flags: Any, state: str, note: str = "", correction: str = "") -> list[Json]:
        """Decides on every flag of a group; returns what `undo` takes.

        Raises OvertakenError where somebody decided, or the contributor changed the flag, in the meantime.
        """
        if state not in DECIDED:
            raise WordsError(f"There is no decision '{state}'. There are {', '.join(DECIDED)}.")
        if len(correction) > LONGEST_CORRECTION:
            raise WordsError(
                f"The wording has {len(correction):,} characters and {LONGEST_CORRECTION:,} fit. Shorten it."
            )
        if pattern().search(correction):
            raise WordsError("The wording holds a control token of the model. Leave it out.")
        seen = [_seen(one) for one in _listed(flags)]
        with self._alone:
            known = self._known()
            drafts = [
                Review(
                    flag_id=name, after=after, state=state, by=by, note=note, correction=correction,
                    matter=_unchanged(known, name, matter),
                )
                for name, after, matter in seen
            ]  # fmt: skip
            return _made(Decisions.at_home().decide(*drafts))

    def undo(self, by: str, flags: Any) -> list[Json]:
        """Takes back one's own decision, by one more that restores what was before; returns what stands."""
        with self._alone:
            decisions = Decisions.at_home()
            drafts = [_restored(decisions, by, *_seen(one)[:2]) for one in _listed(flags)]
            return _made(decisions.decide(*drafts))

    def close(self) -> None:
        if self._outbox:
            self._outbox.close()
            self._outbox = None

    def _known(self) -> KnownFlags:
        """Everybody's flags; the outbox stays open, since it is looked through each time it is opened."""
        path = home() / NAME
        if self._outbox is None or self._outbox.path != path:
            self.close()
            self._outbox = Outbox(path)
        return KnownFlags(self._outbox)


def _decided(known: KnownFlags, decisions: Decisions, state: str) -> list[Group]:
    """The flags in a decided state, each by itself, the one decided last first."""
    flags = {flag.flag_id: flag for flag in known.standing()}
    reviews, marks = decisions.standing(), marks_of(list(flags.values()))
    candidates = [Candidate.of(flag, pattern()) for flag in flags.values()]
    stands = agreement.states(candidates, reviews)
    names = [name for name, found in stands.items() if found == state]
    return [
        Group((flags[name],), (reviews[name],), state, False, tuple(sorted(marks[name])))
        for name in sorted(names, key=lambda name: reviews[name].at, reverse=True)
    ]


def _told(group: Group, conflicts: dict[str, Conflict]) -> Json:
    """A group as the page shows it; the first flag stands for all."""
    first = group.first
    return {
        "flags": [
            {"flag": flag.flag_id, "after": last.review_id if last else "", "matter": matter_of(flag)}
            for flag, last in zip(group.flags, group.last, strict=True)
        ],
        "state": group.state,
        "novel": group.novel,
        "marks": list(group.marks),
        "severity": group.severity,
        "contributors": group.contributors,
        **_shown(first),
        "others": [_words(flag) for flag in group.flags[1:] if _words(flag) != _words(first)],
        "decisions": list(_decisions(group, conflicts)),
    }


def _shown(flag: FlagEvent) -> Json:
    turns = [
        {"role": one.role, "text": escaped(one.content), "sent": one.id in flag.sent.message_ids}
        for one in flag.shown.messages
    ]
    return {
        **_words(flag),
        "turns": turns,
        "omitted": flag.shown.omitted,
        "answer": escaped(flag.answer.text),
        "ending": flag.answer.finish_reason,
        "model": escaped(flag.model.name),
        "round": flag.model.round,
        "verdict": flag.verdict,
        "reasons": list(_reasons(flag)),
        "hazards": list(flag.hazards),
        "at": flag.created_at,
        "seconds": flag.time_to_flag_ms / 1000,
        "training": flag.consent.training,
        "choice": flag.extras.comparison.choice,
        "position": flag.extras.comparison.position,
    }


def _words(flag: FlagEvent) -> Json:
    """What the contributor wrote."""
    return {"comment": escaped(flag.comment), "correction": escaped(flag.correction.text)}


def _reasons(flag: FlagEvent) -> Iterator[str]:
    return (reason.id for reason in flag.reasons)


def _decisions(group: Group, conflicts: dict[str, Conflict]) -> Iterator[Json]:
    """What maintainers said of the group so far: what stands, then what was overtaken."""
    said = [last for last in group.last if last]
    overtaken = [
        review
        for flag in group.flags
        if flag.flag_id in conflicts
        for review in conflicts[flag.flag_id].overtaken
    ]
    for review in [*said[:1], *overtaken]:
        yield {
            "state": review.state,
            "by": escaped(review.by),
            "at": review.at,
            "note": escaped(review.note),
            "correction": escaped(review.correction),
            "overtaken": review in overtaken,
        }


def _listed(flags: Any) -> list[Any]:
    if not isinstance(flags, list) or not 1 <= len(flags) <= MOST_TOGETHER:
        raise WordsError(f"The request names no flags: a list of 1 to {MOST_TOGETHER:,} was wanted.")
    return flags


def _seen(one: Any) -> Sequence[str]:
    """The flag, the last decision and the matter that were seen."""
    found = [one.get(name, "") for name in ("flag", "after", "matter")] if isinstance(one, dict) else []
    if not found or not all(isinstance(text, str) and len(text) <= 64 for text in found):
        raise WordsError("The request names a flag in a way that is not understood. Reload the page.")
    return found


def _unchanged(known: KnownFlags, name: str, matter: str) -> str:
    """The matter of the flag as it was seen. Raises OvertakenError where it is another, or gone."""
    flag = known.current(name)
    if flag is None:
        raise OvertakenError(
            f"Flag {name[:8]} was taken back while you looked at it. There is nothing to decide."
        )
    if matter_of(flag) != matter:
        raise OvertakenError(
            f"Flag {name[:8]} was changed by its contributor while you looked at it. Look at it again and "
            "decide anew."
        )
    return matter


def _restored(decisions: Decisions, by: str, name: str, made: str) -> Review:
    """The draft that undoes the decision `made`: the words of the one before it, or none."""
    history = {review.review_id: review for review in decisions.history(name)}
    mine = history.get(made)
    if mine is None or mine.by != by:
        raise WordsError(f"The last decision on flag {name[:8]} is not yours. Decide on it anew instead.")
    before = history.get(mine.after)
    words = (before.state, before.note, before.correction) if before else (agreement.NEW, "", "")
    matter = before.matter if before else mine.matter
    state, note, correction = words
    return replace(mine, after=made, state=state, note=note, correction=correction, matter=matter)


def _made(reviews: Sequence[Review]) -> list[Json]:
    return [
        {"flag": review.flag_id, "after": review.review_id, "matter": review.matter} for review in reviews
    ]
