"""Answers that are wrong whatever was asked, by the flags of a set: replay must not teach them again.

An answer to another question than was asked is flagged too, and is right where it belongs: left out, a fact
that nobody corrected would be forgotten. So an answer counts as wrong everywhere only where

- a correction is the answer's own sentence with another number in it,
- a reason is about the answer itself: it is out of date, too long, badly written, or
- flags on `FEWEST` questions or more are against it, and none is for it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from feedback.curate.candidate import Candidate
from feedback.curate.mend import FEWEST, OUTDATED, is_another_value
from feedback.store.decisions import Review

OF_THE_ANSWER = {OUTDATED, "too_long", "style_tone", "format", "repetition"}


class Against(NamedTuple):
    """One flag that does not leave the answer as it is; the correction is empty where there is none."""

    flag: Candidate
    correction: str

    @property
    def holds_everywhere(self) -> bool:
        """Whether this flag alone is enough."""
        return bool(OF_THE_ANSWER & set(self.flag.reasons)) or is_another_value(
            self.flag.answer, self.correction
        )


def wrong_answers(used: Iterable[Candidate], reviews: Mapping[str, Review]) -> set[str]:
    """Of the answers that the flags of a set are about, those that are wrong whatever was asked."""
    against: defaultdict[bytes, list[Against]] = defaultdict(list)
    praised = set()
    for flag in used:
        review = reviews.get(flag.flag_id)
        correction = (review.correction if review else "") or flag.correction
        if flag.verdict == "bad" or correction:
            against[flag.answer_key].append(Against(flag, correction))
        elif flag.verdict == "good":
            praised.add(flag.answer_key)
    return {
        one.flag.answer
        for answer, all_of_them in against.items()
        if any(one.holds_everywhere for one in all_of_them)
        or (answer not in praised and len({one.flag.item_key for one in all_of_them}) >= FEWEST)
        for one in all_of_them
    }
