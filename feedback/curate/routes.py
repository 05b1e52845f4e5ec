"""Routes: what one flag may teach, by the reasons of its contributor and the taxonomy; pure.

    teaching = teach(flag, state="accepted")
    teaching.lessons       for sft, kto, dpo or eval, each with its target
    teaching.withheld      "kto:unfinished", ...: what it would have taught, and why it does not

An answer that did not come to its own end is neither a good nor a bad example: where it stops, the machine
stopped it. Neither is one in which something was masked: the model never said "[email]".
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from feedback.curate.agreement import ACCEPTED
from feedback.curate.candidate import Candidate, key
from feedback.taxonomy import Route, taxonomy

# A vote without a reason says that much and no more.
BARE = {
    "good": Route(kto="good", alone="sft_candidate", check="must_keep"),
    "bad": Route(kto="bad", weight=0.5, correction=("sft", "dpo", "eval"), check="reference"),
    "mixed": Route(correction=("sft", "dpo", "eval"), check="reference"),
}
# Of two answers side by side, the choice says it all: each of them is voted on, or they are a pair.
CHOICES = {comparison.id: comparison.route for comparison in taxonomy().comparisons}
VOTES = {
    "kto_good": Route(kto="good"),
    "kto_bad": Route(kto="bad"),
    "dpo": Route(correction=("sft", "dpo", "eval"), check="reference"),
}
LONGEST_RATIO = 1.5  # of chosen to rejected, either way, where the reason is a length


@dataclass(frozen=True, slots=True)
class Lesson:
    """One row that a flag asks for. `label` of a vote; `target` to imitate; `against` to keep away from."""

    file: str  # sft, kto, dpo, eval
    target: str = ""
    target_key: bytes = b""
    against: str = ""
    against_key: bytes = b""
    label: str = ""  # good, bad
    weight: float = 1.0
    capped: bool = False  # counts against the share of its kind
    checks: tuple[str, ...] = ()


@dataclass
class Teaching:
    """What a flag teaches, and what it does not, each with the reason."""

    lessons: list[Lesson] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)


def teach(flag: Candidate, state: str, wording: str = "", other: Candidate | None = None) -> Teaching:
    """The lessons of a flag in this state.

    `wording`: a maintainer's own, instead of its correction; `other`: the flag on the answer that stood
    beside this one.
    """
    teaching = Teaching()
    choice = CHOICES.get(flag.choice)
    routes = [VOTES[name] for name in choice[:1]] if choice else _routes(flag, state, teaching)
    correction = _correction(flag, wording, teaching)
    label = _label(flag, routes, teaching)
    if choice == ("dpo",):
        _prefer(flag, other, teaching)
    if correction:
        _correct(flag, routes, correction, teaching)
    if label:
        _vote(flag, routes, label, teaching)
    if label == "good" and any(route.alone == "sft_candidate" for route in routes):
        _imitate(flag, state, teaching)
    if not correction and any(route.alone == "backlog" for route in routes):
        teaching.withheld.append("sft:backlog")
    if correction or label:
        _examine(flag, state, routes, correction, label, teaching)
    return teaching


def _routes(flag: Candidate, state: str, teaching: Teaching) -> list[Route]:
    """The routes of the reasons that speak of the model, as far as what they need holds."""
    reasons = [taxonomy().reason(name) for name in flag.reasons]
    about_the_model = [reason.route for reason in reasons if not reason.route.aside]
    routes = []
    for route in about_the_model or [BARE[flag.verdict]]:
        if why := _unmet(route, flag, state):
            teaching.withheld.append(f"kto:{why}")
        else:
            routes.append(route)
    return routes


def _unmet(route: Route, flag: Candidate, state: str) -> str:
    """What would have to hold before the reason says anything about the model."""
    met = {
        "": True,
        "finish_stop": flag.finished,
        "reproduced": state == ACCEPTED,  # whoever accepts it has seen it again
        "turn_was_sent": flag.all_was_sent,
    }
    words = {"finish_stop": "unfinished", "reproduced": "not_reproduced", "turn_was_sent": "turn_not_sent"}
    return "" if met[route.only_if] else words[route.only_if]


def _correction(flag: Candidate, wording: str, teaching: Teaching) -> str:
    if wording.strip():
        return wording.strip()
    if flag.correction and flag.correction_masked:
        teaching.withheld.append("sft:masked")
        return ""
    return flag.correction


def _label(flag: Candidate, routes: Iterable[Route], teaching: Teaching) -> str:
    labels = {route.kto for route in routes if route.kto}
    if len(labels) != 1:
        teaching.withheld += ["kto:mixed"] * bool(labels)
        return ""
    (label,) = labels
    return label


def _correct(flag: Candidate, routes: list[Route], correction: str, teaching: Teaching) -> None:
    leads_to = {file for route in routes for file in route.correction}
    wanted = key(correction)
    if "sft" in leads_to:
        teaching.lessons.append(Lesson("sft", correction, wanted))
    if "dpo" not in leads_to:
        return
    if why := _no_example(flag) or _no_pair(flag, routes, correction):
        teaching.withheld.append(f"dpo:{why}")
    else:
        teaching.lessons.append(Lesson("dpo", correction, wanted, flag.answer, flag.answer_key))


def _vote(flag: Candidate, routes: list[Route], label: str, teaching: Teaching) -> None:
    if why := _no_example(flag):
        teaching.withheld.append(f"kto:{why}")
        return
    voting = [route for route in routes if route.kto == label]
    weight = max(route.weight for route in voting)
    capped = all("capped_share" in route.balance for route in voting)
    teaching.lessons.append(
        Lesson("kto", flag.answer, flag.answer_key, label=label, weight=weight, capped=capped)
    )


def _prefer(flag: Candidate, other: Candidate | None, teaching: Teaching) -> None:
    """The pair of two answers side by side; both flags ask for the same one."""
    if other is None or other.item_key != flag.item_key:
        teaching.withheld.append("dpo:other_missing")
        return
    preferred = (flag.choice == "a_better") == (flag.position == "a")
    chosen, rejected = (flag, other) if preferred else (other, flag)
    if why := _no_example(chosen) or _no_example(rejected) or _alike(chosen, rejected):
        teaching.withheld.append(f"dpo:{why}")
    else:
        lesson = Lesson("dpo", chosen.answer, chosen.answer_key, rejected.answer, rejected.answer_key)
        teaching.lessons.append(lesson)


def _alike(one: Candidate, other: Candidate) -> str:
    return "same" if one.answer_key == other.answer_key else ""


def _imitate(flag: Candidate, state: str, teaching: Teaching) -> None:
    """A good answer is a candidate only: it is imitated once a maintainer has accepted it."""
    if why := _no_example(flag) or ("" if state == ACCEPTED else "not_accepted"):
        teaching.withheld.append(f"sft:{why}")
    else:
        teaching.lessons.append(Lesson("sft", flag.answer, flag.answer_key))


def _examine(
    flag: Candidate, state: str, routes: list[Route], correction: str, label: str, teaching: Teaching
) -> None:
    """The evaluation item: a correction or a good answer to reach, a bad answer not to repeat."""
    checks = tuple(sorted({route.check for route in routes if route.check}))
    keeps = label == "good" and state == ACCEPTED and not _no_example(flag)
    target = correction or (flag.answer if keeps else "")
    against = flag.answer if (label == "bad" or correction) and not flag.answer_masked else ""
    if target or against:
        lesson = Lesson(
            "eval", target, key(target), against, flag.answer_key if against else b"", checks=checks
        )
        teaching.lessons.append(lesson)


def _no_example(flag: Candidate) -> str:
    """Why the answer, as it stands, is no example of anything."""
    if not flag.finished:
        return "unfinished"
    return "masked" if flag.answer_masked else ""


def _no_pair(flag: Candidate, routes: Iterable[Route], correction: str) -> str:
    if key(correction) == flag.answer_key:
        return "same"
    pairing = [route for route in routes if "dpo" in route.correction]
    ratio = len(correction) / max(1, len(flag.answer))
    fits = 1 / LONGEST_RATIO <= ratio <= LONGEST_RATIO
    if all("length_matched" in route.balance for route in pairing) and not fits:
        return "length"
    return ""
