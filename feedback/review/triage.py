"""Triage: which undecided flags a maintainer sees first, what belongs together, and what looks odd.

    desk = Desk(KnownFlags(outbox), Decisions.at_home(), by="ada")
    for group in desk.queue():
        desk.decide(group, "accepted")
    desk.undo()

Near-duplicates are one group and are decided once. First come groups that somebody called severe, then those
that most contributors say, then questions on which nothing was decided yet. A mark is a hint and no verdict:
it says what could be the work of a machine, or of one person with many names.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from feedback.curate import agreement
from feedback.curate.agreement import NEW
from feedback.curate.candidate import Candidate, item_of, key
from feedback.curate.controls import pattern
from feedback.curate.similar import Text, first_alike, normalised
from feedback.curate.voices import Said, voices
from feedback.hub.known import KnownFlags
from feedback.schema import SEVERITIES, FlagEvent
from feedback.store.decisions import Decisions, Review, matter_of
from feedback.store.outbox import Outbox
from feedback.store.saving import MANY_AN_HOUR

UNDECIDED = (NEW, agreement.AGREED, agreement.CONFLICT)
TO_LOOK_AT = ("", "safety")  # faults: a flag with another one cannot be used, whatever is decided
TOO_FAST_MS = 1_500  # from the answer to the flag: nobody reads an answer in less
COPIED_WORDS, COPIED_BY = 4, 3  # the very same words, so many, from so many contributors


@dataclass(frozen=True)
class Group:
    """Flags that say nearly the same of nearly the same answer; the first one stands for all."""

    flags: tuple[FlagEvent, ...]
    last: tuple[Review | None, ...]  # the decision on each flag that this maintainer has seen
    state: str
    novel: bool
    marks: tuple[str, ...]

    @property
    def first(self) -> FlagEvent:
        return self.flags[0]

    @property
    def contributors(self) -> int:
        return len({flag.contributor.pseudonym for flag in self.flags})

    @property
    def severity(self) -> str:
        return max((flag.severity for flag in self.flags), key=SEVERITIES.index)


@dataclass(frozen=True)
class Decided:
    """A decision of this desk: what was written, and the group as it was before."""

    group: Group
    reviews: tuple[Review, ...]


class Desk:
    """One maintainer's work on the flags that this machine knows."""

    def __init__(self, flags: Outbox | KnownFlags, decisions: Decisions, by: str) -> None:
        self._flags = flags
        self._decisions = decisions
        self._by = by
        self._done: list[Decided] = []

    def queue(self) -> list[Group]:
        """The undecided flags in groups, the most valuable first."""
        return queue(self._flags.standing(), self._decisions.standing())

    def decide(self, group: Group, state: str, note: str = "", correction: str = "") -> None:
        """Decides on every flag of the group; OvertakenError if somebody has, since the queue was made."""
        drafts = [
            Review(
                flag_id=flag.flag_id,
                after=last.review_id if last else "",
                state=state,
                by=self._by,
                note=note,
                correction=correction,
                matter=matter_of(flag),
            )
            for flag, last in zip(group.flags, group.last, strict=True)
        ]
        self._done.append(Decided(group, tuple(self._decisions.decide(*drafts))))

    def undo(self) -> Group | None:
        """Takes back this desk's last decision, by one more that restores what was before."""
        if not self._done:
            return None
        decided = self._done[-1]
        drafts = [
            replace(review, after=review.review_id, **_words_of(last))
            for review, last in zip(decided.reviews, decided.group.last, strict=True)
        ]
        restored = self._decisions.decide(*drafts)
        self._done.pop()
        return replace(decided.group, last=tuple(restored))


def queue(flags: Iterable[FlagEvent], reviews: Mapping[str, Review]) -> list[Group]:
    """The undecided flags in groups, the most valuable first."""
    candidates = {flag.flag_id: (flag, Candidate.of(flag, pattern())) for flag in flags}
    able = [candidate for _, candidate in candidates.values() if candidate.fault in TO_LOOK_AT]
    state = agreement.states(able, reviews)
    undecided = [candidates[name][0] for name in sorted(state) if state[name] in UNDECIDED]
    settled = {question(candidates[name][0]) for name in state if state[name] not in UNDECIDED}
    marks = marks_of([flag for flag, _ in candidates.values()])
    groups = [
        Group(
            flags=tuple(together),
            last=tuple(reviews.get(flag.flag_id) for flag in together),
            state=state[together[0].flag_id],
            novel=question(together[0]) not in settled,
            marks=tuple(sorted({mark for flag in together for mark in marks[flag.flag_id]})),
        )
        for together in _together(undecided)
    ]
    return sorted(groups, key=_worth)


def question(flag: FlagEvent) -> str:
    """What was asked, but for spelling."""
    return normalised(flag.shown.messages[-1].content) if flag.shown.messages else ""


def marks_of(flags: Sequence[FlagEvent]) -> Mapping[str, set[str]]:
    """What looks odd about each flag: fast, copied, many, one_voice."""
    copied: defaultdict[str, set[str]] = defaultdict(set)
    hours: Counter[tuple[str, str]] = Counter()
    for flag in flags:
        hours[_hour(flag)] += 1
        for words in _own_words(flag):
            copied[words].add(flag.contributor.pseudonym)
    joined = _of_one_voice(flags)
    marks: defaultdict[str, set[str]] = defaultdict(set)
    for flag in flags:
        found = marks[flag.flag_id]
        if 0 < flag.time_to_flag_ms < TOO_FAST_MS:
            found.add("fast")
        if any(len(copied[words]) >= COPIED_BY for words in _own_words(flag)):
            found.add("copied")
        if hours[_hour(flag)] > MANY_AN_HOUR:
            found.add("many")
        if flag.contributor.pseudonym in joined:
            found.add("one_voice")
    return marks


def _of_one_voice(flags: Sequence[FlagEvent]) -> set[str]:
    """The contributors who always say the same as another."""
    voice = voices(
        Said(flag.contributor.pseudonym, item_of(flag), key(flag.correction.text))
        for flag in flags
        if flag.correction.text.strip()
    )
    names = Counter(voice.values())
    return {contributor for contributor, speaker in voice.items() if names[speaker] > 1}


def _together(flags: Sequence[FlagEvent]) -> list[list[FlagEvent]]:
    groups: defaultdict[int, list[FlagEvent]] = defaultdict(list)
    for flag, first in zip(flags, first_alike([_text(flag) for flag in flags]), strict=True):
        groups[first].append(flag)
    return list(groups.values())


def _text(flag: FlagEvent) -> Text:
    words = normalised("\n".join((question(flag), flag.answer.text, flag.correction.text)))
    reasons = tuple(sorted(reason.id for reason in flag.reasons))
    return Text(words, (flag.verdict, reasons, normalised(flag.correction.text)))


def _worth(group: Group) -> tuple[int, int, bool, bool, str, str]:
    flag = group.first
    return (
        -SEVERITIES.index(group.severity),
        -group.contributors,
        not group.novel,
        not flag.correction.text,
        flag.created_at,
        flag.flag_id,
    )


def _own_words(flag: FlagEvent) -> list[str]:
    """Texts long enough that two people would hardly write them alike, down to the last mark."""
    return [text for text in (flag.comment, flag.correction.text) if len(text.split()) >= COPIED_WORDS]


def _hour(flag: FlagEvent) -> tuple[str, str]:
    return flag.contributor.pseudonym, flag.created_at[:13]


def _words_of(review: Review | None) -> dict[str, str]:
    """What a decision said; where there was none, that the flag is new."""
    if review is None:
        return {"state": NEW, "note": "", "correction": ""}
    return {
        "state": review.state,
        "note": review.note,
        "correction": review.correction,
        "matter": review.matter,
    }
