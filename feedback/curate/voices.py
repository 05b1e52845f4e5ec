"""Voices: contributors who always say the same of the same items count as one.

    voice = voices(flags)
    voice[contributor]      the contributor whose voice it is: mostly his own

Two have one voice when at least 3 corrections are theirs in common and these are more than half of all that
the two say together. Corrections that nobody else gives are no sign either way, so that nobody hides behind
many of his own. Contributors are taken in the order of their pseudonyms: each joins the first who speaks for
himself and says the same, or speaks for himself. So a voice is never a chain of people who are each a little
like the next.

Promise: nobody with fewer than 3 shared corrections is ever joined. Three testers who go through one list
are one voice, too: what they agree on waits for a maintainer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

IN_COMMON = 3  # corrections that two must share before they can be one voice


class Said(NamedTuple):
    """A contributor's correction of an item."""

    contributor: str
    item: bytes
    correction: bytes


Correction = tuple[bytes, bytes]  # item, correction


def voices(said: Iterable[Said]) -> dict[str, str]:
    """For each contributor the one who speaks for him: himself, or the first who always says the same."""
    contributors: defaultdict[Correction, set[str]] = defaultdict(set)
    for contributor, item, correction in said:
        contributors[item, correction].add(contributor)
    speaker = {one: one for them in contributors.values() for one in them}
    corrections = _shared(contributors)
    all_of = {one: frozenset(mine) for one, mine in corrections.items()}
    speakers: defaultdict[Correction, list[str]] = defaultdict(list)
    for one, mine in sorted(corrections.items()):
        telling = mine[: len(mine) - _fewest(len(mine)) + 1]
        near = {other for what in telling for other in speakers[what]}
        alike = (other for other in sorted(near) if is_one_voice(all_of[one], all_of[other]))
        speaker[one] = next(alike, one)
        if speaker[one] == one:
            for what in telling:
                speakers[what].append(one)
    return speaker


def is_one_voice(mine: AbstractSet[Correction], theirs: AbstractSet[Correction]) -> bool:
    """Whether two who give these corrections are one voice."""
    common = len(mine & theirs)
    return common >= IN_COMMON and 2 * common > len(mine) + len(theirs) - common


def _shared(contributors: Mapping[Correction, set[str]]) -> dict[str, list[Correction]]:
    """The corrections of each contributor that others give too, the rarest first; of those with enough."""
    shared = [(len(them), correction) for correction, them in contributors.items() if len(them) > 1]
    corrections: defaultdict[str, list[Correction]] = defaultdict(list)
    for _, correction in sorted(shared):
        for one in contributors[correction]:
            corrections[one].append(correction)
    return {one: mine for one, mine in corrections.items() if len(mine) >= IN_COMMON}


def _fewest(mine: int) -> int:
    """How many of so many corrections another must share to be the same voice.

    Who shares so many shares one of the `mine - fewest + 1` rarest, and is looked for there alone.
    """
    return max(IN_COMMON, mine // 2 + 1)
