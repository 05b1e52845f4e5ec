"""Train or eval: whole conversations, and never the same question on both sides.

A conversation stays together. Conversations with near-equal prompts are joined into one group as long as it
stays small, since each of them would betray the other; which side a group is on follows from the seed and its
first conversation alone, so that a new flag elsewhere moves nothing. Where a question is so common that a
group would grow too large, it stays on the side where most flags ask it, and the others are left out.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import NamedTuple

from feedback.curate.candidate import Candidate
from feedback.curate.similar import Likeness, Sets, Text, groups, normalised

LARGEST_GROUP = 0.1  # of all flags
SMALL_ENOUGH = 20  # flags: a group of so many is never too large

TRAIN, EVAL = "train", "eval"


@dataclass
class Sides:
    """Where each flag goes; `left_out`: its question is asked on the other side."""

    side: dict[str, str]
    group: dict[str, str]
    left_out: set[str]


class Leak(NamedTuple):
    """An evaluation prompt that stands in the training data too."""

    kind: str  # exact, normalised, near
    train: str  # ids of the two rows
    evaluation: str
    prompt: str


Prompt = tuple[str, str]  # row id, turns as one text


def spoken(turns: Sequence[tuple[str, str]]) -> str:
    """Turns as one text: what is compared, the system prompt left out, since many prompts share it."""
    return "\n".join(f"{role}: {content}" for role, content in turns)


def split(flags: Sequence[Candidate], share: float, seed: int) -> Sides:
    """Assigns every flag to a side."""
    question = _questions(flags)
    group = _groups_of_conversations(flags, question)
    side = {name: _drawn(seed, name, share) for name in set(group.values())}
    sides = {flag.flag_id: side[group[flag.conversation]] for flag in flags}
    return Sides(sides, group, _outnumbered(flags, question, sides))


def find_leaks(train: Sequence[Prompt], evaluation: Sequence[Prompt]) -> list[Leak]:
    """Every training prompt that is, but for little, an evaluation prompt."""
    held_out = Likeness()
    exact: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for place, (name, prompt) in enumerate(evaluation):
        exact.setdefault(prompt, name)
        spelled.setdefault(normalised(prompt), name)
        held_out.add(place, Text(normalised(prompt)))

    @cache
    def found(prompt: str) -> tuple[str, str] | None:
        """How the prompt leaks and where to; several rows may have the same."""
        if prompt in exact:
            return "exact", exact[prompt]
        words = normalised(prompt)
        if words in spelled:
            return "normalised", spelled[words]
        near = next(held_out.near(Text(words)), None)
        return None if near is None else ("near", evaluation[near][0])

    leaks = ((name, prompt, found(prompt)) for name, prompt in train)
    return [Leak(leak[0], name, leak[1], prompt) for name, prompt, leak in leaks if leak]


def _questions(flags: Sequence[Candidate]) -> dict[bytes, int]:
    """For each prompt the number of its group of near prompts."""
    prompts: dict[bytes, Text] = {}
    for flag in flags:
        prompts.setdefault(flag.prompt_key, Text(normalised(spoken(flag.turns))))
    names = sorted(prompts)
    return dict(zip(names, groups([prompts[name] for name in names]), strict=True))


def _groups_of_conversations(flags: Sequence[Candidate], question: Mapping[bytes, int]) -> dict[str, str]:
    """For each conversation the first conversation of its group."""
    names = sorted({flag.conversation for flag in flags})
    place = {name: number for number, name in enumerate(names)}
    size = Counter(place[flag.conversation] for flag in flags)
    asked: defaultdict[int, set[int]] = defaultdict(set)
    for flag in flags:
        asked[question[flag.prompt_key]].add(place[flag.conversation])
    largest = max(SMALL_ENOUGH, LARGEST_GROUP * len(flags))
    sets = Sets(len(names))
    for _, _, conversations in sorted((len(them), number, sorted(them)) for number, them in asked.items()):
        firsts = {sets.first(one) for one in conversations}
        total = sum(size[one] for one in firsts)
        if len(firsts) > 1 and total <= largest:
            for one in firsts:
                sets.join(conversations[0], one)
            size[min(firsts)] = total
    return {name: names[sets.first(number)] for name, number in place.items()}


def _drawn(seed: int, group: str, share: float) -> str:
    draw = int.from_bytes(sha256(f"{seed}|{group}".encode()).digest()[:8]) / 2**64
    return EVAL if draw < share else TRAIN


def _outnumbered(
    flags: Sequence[Candidate], question: Mapping[bytes, int], sides: Mapping[str, str]
) -> set[str]:
    count = Counter((question[flag.prompt_key], sides[flag.flag_id]) for flag in flags)

    def kept(number: int) -> str:
        return EVAL if count[number, EVAL] > count[number, TRAIN] else TRAIN

    return {flag.flag_id for flag in flags if sides[flag.flag_id] != kept(question[flag.prompt_key])}
