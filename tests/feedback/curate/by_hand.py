"""What flags count for, computed as one would by hand: every flag looks at all others that concern it."""

import re
from collections import Counter, defaultdict
from typing import Any

from feedback.curate.candidate import Candidate
from feedback.curate.similar import normalised

Flags = list[Candidate]


def states(flags: Flags, reviews: dict[str, Any]) -> tuple[dict[str, str], set[str]]:
    """The state of each flag, and the flags that enough accounts agree on, but too few voices."""
    decided = {}
    for flag in flags:
        review = reviews.get(flag.flag_id)
        decided[flag.flag_id] = review.state if review and review.matter == flag.matter else "new"
    speaks_for = voices([flag for flag in flags if flag.correction])
    counted = [flag for flag in flags if flag.correction and decided[flag.flag_id] in ("new", "accepted")]
    filled = {flag.flag_id: blanked(flag) for flag in counted}
    items, sentences = defaultdict(list), defaultdict(list)
    for flag in counted:
        items[flag.item_key].append(flag)
        sentences[flag.answer_key, filled[flag.flag_id]].append(flag)
    state, only_names = dict(decided), set()
    for flag in counted:
        if decided[flag.flag_id] != "new":
            continue
        others = items[flag.item_key]
        names = {one.contributor for one in others if one.correction_key == flag.correction_key}
        speakers = {speaks_for[one] for one in names}
        if len(speakers) >= 3 and share_of_voices(flag, others, speaks_for) >= 0.75:
            same_sentence = (
                sentences[flag.answer_key, filled[flag.flag_id]] if filled[flag.flag_id] else others
            )
            elsewhere = share_of_voices(flag, same_sentence, speaks_for)
            state[flag.flag_id] = "agreed" if elsewhere > 0.5 else "conflict"
        elif any(one.correction_key != flag.correction_key for one in others):
            state[flag.flag_id] = "conflict"
        elif len(names) >= 3 > len(speakers):
            only_names.add(flag.flag_id)
    return state, only_names


def share_of_voices(flag: Candidate, group: Flags, speaks_for: dict[str, str]) -> float:
    same = {speaks_for[one.contributor] for one in group if one.correction_key == flag.correction_key}
    return len(same) / len({speaks_for[one.contributor] for one in group})


def voices(flags: Flags) -> dict[str, str]:
    """Each contributor joins the first who speaks for himself and says the same; every pair is compared."""
    said = defaultdict(set)
    for flag in flags:
        said[flag.contributor].add((flag.item_key, flag.correction_key))
    times = Counter(one for theirs in said.values() for one in theirs)
    shared = {who: {one for one in theirs if times[one] > 1} for who, theirs in said.items()}
    speaks_for: dict[str, str] = {}
    for who in sorted(said):
        speaks_for[who] = who
        for other in sorted(one for one in speaks_for if speaks_for[one] == one and one != who):
            common = shared[who] & shared[other]
            if len(common) >= 3 and len(common) / len(shared[who] | shared[other]) > 0.5:
                speaks_for[who] = other
                break
    return speaks_for


def blanked(flag: Candidate) -> str:
    words = re.findall(r"\w+", normalised(flag.correction))
    known = re.findall(r"\w+", normalised(f"{flag.answer} {flag.turns[-1][1]}"))
    kept: list[str] = []
    for place, word in enumerate(words):
        is_value = any(re.search(r"\d", one) for one in words[max(0, place - 1) : place + 1])
        kept.append("_" if is_value or word not in known else word)
    if kept.count("_") > len(kept) / 2:
        return ""
    return re.sub(r"_( _)+", "_", " ".join(kept))
