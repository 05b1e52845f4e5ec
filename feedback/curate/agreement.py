"""Agreement: what a flag counts for, given the decisions of maintainers and what other contributors say.

    accepted · rejected · needs_reference · system · safety     a maintainer decided
    agreed      3 voices or more give the same correction, they are 75 % of those who corrected the item, and
                those who say so are most of all who fill the same sentence in correcting the same answer
    conflict    others correct the item differently, and this is not the agreed correction; or it would be
                agreed, but too many fill the sentence differently on other items
    new         none of these

An item is what was asked: system prompt and turns as sent. Corrections are the same when they are but for
spelling. A contributor counts once, and contributors who always say the same count as one (voices.py). The
same answer may be given to many questions; corrections of it that differ in a value alone (sentence.py)
speak against each other whatever the question was.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from feedback.curate.candidate import Candidate
from feedback.curate.sentence import sentence
from feedback.curate.voices import Said, voices
from feedback.store.decisions import Review

FEWEST = 3  # voices that give the same correction
SHARE = 0.75  # of those who corrected the item
MOST = 0.5  # of those who filled the sentence on any item: a few must not keep a fact from being learned

ACCEPTED, AGREED, NEW, CONFLICT = "accepted", "agreed", "new", "conflict"
INCLUDED = {"accepted": (ACCEPTED,), "agreed": (ACCEPTED, AGREED), "all": (ACCEPTED, AGREED, NEW)}


@dataclass(frozen=True)
class Judged:
    """The state of each flag, and the flags that only accounts agree on: too few voices, but enough names."""

    state: dict[str, str]
    one_voice: set[str]


@dataclass
class Tally:
    """Who gives which correction, of all that are given in one place."""

    voices: defaultdict[bytes, set[str]] = field(default_factory=lambda: defaultdict(set))
    contributors: defaultdict[bytes, set[str]] = field(default_factory=lambda: defaultdict(set))
    everybody: set[str] = field(default_factory=set)

    def add(self, flag: Candidate, voice: str) -> None:
        self.voices[flag.correction_key].add(voice)
        self.contributors[flag.correction_key].add(flag.contributor)
        self.everybody.add(voice)

    def share(self, correction: bytes) -> float:
        """Of those who correct here, who says this."""
        return len(self.voices[correction]) / len(self.everybody)

    @property
    def is_disputed(self) -> bool:
        return len(self.voices) > 1


Place = tuple[bytes, ...]  # an item; or an answer and a sentence


def states(flags: Iterable[Candidate], reviews: Mapping[str, Review]) -> dict[str, str]:
    """The state of each flag by its id."""
    return judge(list(flags), reviews).state


def judge(flags: Sequence[Candidate], reviews: Mapping[str, Review]) -> Judged:
    """The state of each flag by its id, and which flags are of one voice with many names."""
    state = {flag.flag_id: decision_on(flag, reviews) for flag in flags}
    corrected = [flag for flag in flags if flag.correction]
    voice = voices(Said(flag.contributor, flag.item_key, flag.correction_key) for flag in corrected)
    counted = [flag for flag in corrected if state[flag.flag_id] in (ACCEPTED, NEW)]
    filled = _sentences(counted)
    tallies: defaultdict[Place, Tally] = defaultdict(Tally)
    for flag in counted:
        for place in _places(flag, filled):
            tallies[place].add(flag, voice[flag.contributor])
    one_voice = set()
    for flag in counted:
        if state[flag.flag_id] == NEW:
            here = [tallies[place] for place in _places(flag, filled)]
            state[flag.flag_id] = _computed(flag.correction_key, *here)
            if state[flag.flag_id] == NEW and _has_only_names(flag.correction_key, here[0]):
                one_voice.add(flag.flag_id)
    return Judged(state, one_voice)


def decision_on(flag: Candidate, reviews: Mapping[str, Review]) -> str:
    """The state that a maintainer gave to what this flag says now; "new" where nobody did."""
    review = reviews.get(flag.flag_id)
    return review.state if review and review.matter == flag.matter else NEW


def _sentences(flags: Sequence[Candidate]) -> dict[str, Place]:
    """For each flag whose answer was corrected on several items: that answer and the sentence it fills."""
    items: defaultdict[bytes, set[bytes]] = defaultdict(set)
    for flag in flags:
        items[flag.answer_key].add(flag.item_key)
    return {
        flag.flag_id: (flag.answer_key, filled.encode())
        for flag in flags
        if len(items[flag.answer_key]) > 1
        and (filled := sentence(flag.correction, flag.answer, flag.turns[-1][1]))
    }


def _places(flag: Candidate, filled: Mapping[str, Place]) -> list[Place]:
    """Where the correction meets others: its item first, then its sentence."""
    item: Place = (flag.item_key,)
    return [item, filled[flag.flag_id]] if flag.flag_id in filled else [item]


def _computed(correction: bytes, item: Tally, *sentence: Tally) -> str:
    """The state of a correction by the tallies of its item and of its sentence, where it has one."""
    if len(item.voices[correction]) >= FEWEST and item.share(correction) >= SHARE:
        return AGREED if all(tally.share(correction) > MOST for tally in sentence) else CONFLICT
    return CONFLICT if item.is_disputed else NEW


def _has_only_names(correction: bytes, item: Tally) -> bool:
    return len(item.voices[correction]) < FEWEST <= len(item.contributors[correction])
