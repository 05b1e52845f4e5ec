"""Rows: lessons become lines of sft, kto, dpo and eval, in the conversational formats that TRL reads.

    book = Rows(seed=1)
    book.add(flag, "accepted", lesson, group="")
    book.settle()                     contradicting votes and one-sided kinds are taken out
    book.lines("kto")                 dictionaries, in an order that follows from the seed

Equal lessons of several flags are one row with several flags. A row's id is a hash of its content, so the
same row has the same id in every set.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from backtalk.files import canonical_json
from feedback.curate.agreement import ACCEPTED, SHARE
from feedback.curate.candidate import Candidate
from feedback.curate.routes import Lesson
from feedback.curate.similar import normalised, numbers
from feedback.curate.spelling import closest

FILES = ("sft", "kto", "dpo", "eval")
WRITTEN = ("sft", "dpo")  # what a contributor wrote is taught in these; a vote is on what a model wrote
CAPPED_SHARE = 0.25  # of all votes that may be about length alone, which a model learns too gladly
CAPPED_FEW = 20  # rows of that kind are never too many
MOST_TO_AVOID = 5  # flagged answers of one evaluation item

Key = tuple[bytes | str, ...]


@dataclass
class Row:
    """One line to be: the first lesson says how it reads, every flag that asked for it is named."""

    first: Candidate
    lesson: Lesson
    group: str
    flags: list[str] = field(default_factory=list)
    contributors: set[str] = field(default_factory=set)
    weight: float = 0.0
    also_against: list[str] = field(default_factory=list)
    checks: set[str] = field(default_factory=set)
    capped: bool = True
    id: str = ""


@dataclass
class Votes:
    """Who gave one answer which label; `decided`: the labels of flags that a maintainer accepted."""

    decided: set[str] = field(default_factory=set)
    voters: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def label(self) -> str:
        """The one that counts; empty where the votes contradict each other."""
        if self.decided:
            return next(iter(self.decided)) if len(self.decided) == 1 else ""
        everybody = len(set().union(*self.voters.values()))
        return next((name for name in sorted(self.voters) if len(self.voters[name]) >= SHARE * everybody), "")


class Rows:
    """All rows of a set. Flags are added in the order of their worth: the first one's spelling is kept."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rows: dict[str, dict[Key, Row]] = {name: {} for name in FILES}
        self._votes: defaultdict[Key, Votes] = defaultdict(Votes)
        self.taken_out: dict[str, list[str]] = defaultdict(list)  # flag -> what its votes came to

    def add(self, flag: Candidate, state: str, lesson: Lesson, group: str) -> None:
        """Adds a lesson to the row that it belongs to."""
        row = self._rows[lesson.file].setdefault(_key(flag, lesson), Row(flag, lesson, group))
        row.flags.append(flag.flag_id)
        row.contributors.add(flag.contributor)
        row.weight = max(row.weight, lesson.weight)
        row.capped = row.capped and lesson.capped
        row.checks.update(lesson.checks)
        if lesson.file == "eval":
            _add_to_item(row, lesson)
        if lesson.file == "kto":
            votes = self._votes[flag.item_key, flag.answer_key]
            votes.voters[lesson.label].add(flag.contributor)
            if state == ACCEPTED:
                votes.decided.add(lesson.label)

    def settle(self) -> None:
        """Takes out what contradicts, then what is too much of one kind; gives every row spelling and id."""
        self._drop_contradictions()
        self._drop_beyond_share()
        for name in WRITTEN:
            self._spell_alike(name)
        for name in FILES:
            for row in self._rows[name].values():
                row.id = row_id(name, _content(name, row))

    def used(self) -> dict[str, list[str]]:
        """The rows of each flag, as "sft:ID"."""
        used: defaultdict[str, list[str]] = defaultdict(list)
        for name in FILES:
            for row in self._rows[name].values():
                for flag in row.flags:
                    used[flag].append(f"{name}:{row.id}")
        return used

    def count(self, name: str) -> int:
        return len(self._rows[name])

    def labels(self) -> tuple[int, int]:
        """How many answers are voted good, and how many bad."""
        labels = Counter(row.lesson.label for row in self._rows["kto"].values())
        return labels["good"], labels["bad"]

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The rows of a file: shuffled, since trainers read some of them in order; always the same way."""
        for row in sorted(self._rows[name].values(), key=lambda row: shuffled(self._seed, row.id)):
            rest: dict[str, Any] = {"id": row.id, "flags": sorted(row.flags)}
            if name == "kto":
                rest["weight"] = row.weight
            if name == "eval":
                rest["group"] = row.group
            yield {**_content(name, row), **rest}

    def turns(self, name: str) -> Iterator[tuple[str, Candidate]]:
        """Row id and the flag that its prompt is from, for each row of a file."""
        return ((row.id, row.first) for row in self._rows[name].values())

    def corrected(self, name: str) -> Iterator[Row]:
        """The rows of sft or eval that say what is right."""
        return (row for row in self._rows[name].values() if row.lesson.target)

    def called_good(self) -> Iterator[str]:
        """Each answer that a vote of the set calls good."""
        return (row.lesson.target for row in self._rows["kto"].values() if row.lesson.label == "good")

    def _drop_contradictions(self) -> None:
        for key, row in list(self._rows["kto"].items()):
            if self._votes[row.first.item_key, row.first.answer_key].label() != row.lesson.label:
                self._take_out("kto", key, "kto:conflict")

    def _drop_beyond_share(self) -> None:
        capped = sorted(
            (key for key, row in self._rows["kto"].items() if row.capped),
            key=lambda key: shuffled(self._seed, repr(key)),
        )
        others = len(self._rows["kto"]) - len(capped)
        room = max(CAPPED_FEW, int(others * CAPPED_SHARE / (1 - CAPPED_SHARE)))
        for key in capped[room:]:
            self._take_out("kto", key, "kto:capped_share")

    def _spell_alike(self, name: str) -> None:
        """Corrections of one answer that say the same are spelled the same."""
        alike: defaultdict[Key, list[Row]] = defaultdict(list)
        for row in self._rows[name].values():
            alike[row.first.answer_key, row.lesson.target_key].append(row)
        for rows in alike.values():
            spellings = Counter(row.lesson.target for row in rows)
            if len(spellings) > 1:
                text = closest(rows[0].first.answer, spellings)
                for row in rows:
                    row.lesson = replace(row.lesson, target=text)

    def _take_out(self, name: str, key: Key, why: str) -> None:
        for flag in self._rows[name].pop(key).flags:
            self.taken_out[flag].append(why)


def row_id(name: str, content: dict[str, Any]) -> str:
    """The name of a row: the same content has the same."""
    return sha256(canonical_json([name, content])).hexdigest()[:16]


def shuffled(seed: int, name: str) -> str:
    """What to sort by, for an order that is as good as random and always the same."""
    return sha256(f"{seed}|{name}".encode()).hexdigest()


def _key(flag: Candidate, lesson: Lesson) -> Key:
    if lesson.file == "eval":
        return (flag.item_key,)
    return flag.item_key, lesson.target_key, lesson.against_key, lesson.label


def _add_to_item(row: Row, lesson: Lesson) -> None:
    """An item takes its target from the first flag that has one, and what to avoid from all."""
    if lesson.target and not row.lesson.target:
        row.lesson = lesson
    known = {normalised(text) for text in row.also_against}
    if lesson.against and normalised(lesson.against) not in known and len(known) < MOST_TO_AVOID:
        row.also_against.append(lesson.against)


def _content(name: str, row: Row) -> dict[str, Any]:
    prompt = _messages(row.first)
    lesson = row.lesson
    if name == "sft":
        return {"prompt": prompt, "completion": _said(lesson.target)}
    if name == "kto":
        return {"prompt": prompt, "completion": _said(lesson.target), "label": lesson.label == "good"}
    if name == "dpo":
        return {"prompt": prompt, "chosen": _said(lesson.target), "rejected": _said(lesson.against)}
    avoid = [text for text in row.also_against if normalised(text) != normalised(lesson.target)]
    return {
        "prompt": prompt,
        "reference": lesson.target,
        "must": must_say(lesson.target, avoid),
        "must_not": avoid,
        "checks": sorted(row.checks),
    }


def _messages(flag: Candidate) -> list[dict[str, str]]:
    """Exactly what was sent: the system prompt where there was one, then the turns."""
    system = [{"role": "system", "content": flag.system}] if flag.system else []
    return [*system, *({"role": role, "content": content} for role, content in flag.turns)]


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def must_say(reference: str, avoid: list[str]) -> list[str]:
    """The numbers that the reference has and no flagged answer has: what was wrong, where it was a number."""
    if not avoid:
        return []
    wrong = {number for text in avoid for number in numbers(normalised(text))}
    right = (number for number in numbers(reference) if normalised(number) not in wrong)
    return list(dict.fromkeys(right))
