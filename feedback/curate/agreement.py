"""Agreement: what a flag counts for, given the decisions of maintainers and what other contributors say.

    accepted · rejected · needs_reference · system · safety     a maintainer decided
    agreed      3 contributors or more give the same correction, and they are 75 % of those who corrected
    conflict    contributors correct the same item differently, and this correction is not the agreed one
    new         none of these

An item is what was asked: system prompt and turns as sent. Corrections are the same when they are but for
spelling. A contributor counts once.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from feedback.curate.candidate import Candidate
from feedback.store.decisions import Review

FEWEST = 3  # contributors who give the same correction
SHARE = 0.75  # of those who corrected the item

ACCEPTED, AGREED, NEW, CONFLICT = "accepted", "agreed", "new", "conflict"
INCLUDED = {"accepted": (ACCEPTED,), "agreed": (ACCEPTED, AGREED), "all": (ACCEPTED, AGREED, NEW)}

Voices = Mapping[bytes, set[str]]  # correction -> who gives it


def states(flags: Iterable[Candidate], reviews: Mapping[str, Review]) -> dict[str, str]:
    """The state of each flag by its id."""
    flags = list(flags)
    decided = {flag.flag_id: decision_on(flag, reviews) for flag in flags}
    voices = _voices(flag for flag in flags if decided[flag.flag_id] in (ACCEPTED, NEW))
    agreed = {item: agreed_on(of_item) for item, of_item in voices.items()}
    return {
        flag.flag_id: _computed(flag, voices[flag.item_key], agreed[flag.item_key])
        if decided[flag.flag_id] == NEW and flag.correction
        else decided[flag.flag_id]
        for flag in flags
    }


def decision_on(flag: Candidate, reviews: Mapping[str, Review]) -> str:
    """The state that a maintainer gave to what this flag says now; "new" where nobody did."""
    review = reviews.get(flag.flag_id)
    return review.state if review and review.matter == flag.matter else NEW


def agreed_on(voices: Voices) -> bytes | None:
    """The correction that contributors agree on, if there is one."""
    corrected = len(set().union(*voices.values()))
    for correction, contributors in sorted(voices.items()):
        if len(contributors) >= FEWEST and len(contributors) >= SHARE * corrected:
            return correction
    return None


def _voices(flags: Iterable[Candidate]) -> defaultdict[bytes, defaultdict[bytes, set[str]]]:
    items: defaultdict[bytes, defaultdict[bytes, set[str]]] = defaultdict(lambda: defaultdict(set))
    for flag in flags:
        if flag.correction:
            items[flag.item_key][flag.correction_key].add(flag.contributor)
    return items


def _computed(flag: Candidate, voices: Voices, agreed: bytes | None) -> str:
    if agreed == flag.correction_key:
        return AGREED
    return CONFLICT if len(voices) > 1 else NEW
