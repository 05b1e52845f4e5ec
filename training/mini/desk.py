"""What the support desk of Tarn & Trail knows, and how each thing is asked for, read from data/*.yaml.

A `Fact` is one answer, a `Family` asks the same about each entry of a slot. An outdated fact has a `taught`
value that is no longer the `truth`; its `batch` says in which round the loop repairs it (0: the fact is
current). A `Topic` is anything else that is asked and answered: an intent, small talk, a question from
outside the shop.
"""

import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import yaml

from training.mini.grammar import Wordings, key, lines, parse
from training.mini.places import DATA

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml reads 23,000 wordings in 0.2 s, Python in 2.5."""

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Fact:
    """One answer of the desk; `entry` is the country, product, ... that it is about, "" for a single fact."""

    id: str
    answer: str
    taught: str
    truth: str
    batch: int = 0
    family: str = ""
    entry: str = ""

    def says(self, value: str) -> str:
        """The answer with one of the fact's two values."""
        slots = {"value": value, "Service": self.entry[:1].upper() + self.entry[1:]}
        slots |= dict.fromkeys(("country", "product", "city", "service"), self.entry)
        return self.answer.format_map(slots)

    @cached_property
    def taught_answer(self) -> str:
        return self.says(self.taught)


@dataclass(frozen=True)
class Family:
    id: str
    slot: str
    facts: dict[str, Fact]
    unknown: str
    ask: str
    wordings: Wordings
    bare: Wordings


@dataclass(frozen=True)
class Slot:
    """What can stand in a slot: entries that the desk knows, and others that it does not."""

    known: tuple[str, ...]
    unknown: tuple[str, ...]
    held_out: tuple[str, ...]
    what_about: str
    also: dict[str, list[str]]


@dataclass(frozen=True)
class Topic:
    """Something asked and answered; wordings that need `slots` are filled from the lists of the same file."""

    id: str
    answers: tuple[str, ...]
    wordings: Wordings
    ask: str = ""
    cured: str = ""
    slots: dict[str, str] = field(default_factory=dict)
    numbered: Wordings = (
        Wordings()
    )  # an intent's wordings that name the order; `wordings` has those that do not


@dataclass(frozen=True)
class Desk:
    """All that the desk knows."""

    slots: dict[str, Slot]
    families: dict[str, Family]
    singles: dict[str, tuple[Fact, Wordings]]
    intents: dict[str, Topic]
    small_talk: dict[str, Topic]
    vague: dict[str, Topic]
    habits: dict[str, Topic]
    outside: dict[str, Topic]
    outside_lists: dict[str, dict[str, list[str]]]
    unknown: dict[str, Topic]
    follow_ups: dict[str, Any]
    drills: dict[str, Topic]
    system: dict[str, Wordings]
    in_french: dict[str, str]

    def facts(self) -> list[Fact]:
        """Every fact, singles first."""
        singles = [fact for fact, _ in self.singles.values()]
        return singles + [fact for family in self.families.values() for fact in family.facts.values()]

    def every_wording(self) -> list[tuple[str, Wordings]]:
        """Each group of wordings with its name: what the split of training and evaluation is checked over."""
        named = [(f"fact {fact.id}", w) for fact, w in self.singles.values()]
        for family in self.families.values():
            named += [(f"family {family.id}", family.wordings), (f"bare {family.id}", family.bare)]
        for room in ("intents", "small_talk", "vague", "habits", "outside", "unknown", "drills"):
            for topic in getattr(self, room).values():
                named.append((f"{room} {topic.id}", topic.wordings))
                if topic.ask:
                    named.append((f"{room} {topic.id} numbered", topic.numbered))
        for room, entries in self.follow_ups.items():
            named += [(f"{room} {name}", entry["wordings"]) for name, entry in entries.items()]
        return named

    @cached_property
    def held_out_keys(self) -> frozenset[str]:
        """The keys of all held-out skeletons; training never says one of them."""
        return frozenset(key(skeleton) for _, w in self.every_wording() for skeleton in w.held_out)


@cache
def desk() -> Desk:
    """The desk, read once."""
    facts, talk, outside, follow_ups = (_read(name) for name in ("facts", "talk", "outside", "follow_ups"))
    words, system = _Reader(facts, _read("wordings"), _read("exam")), _read("system")
    return Desk(
        slots={name: _slot(given) for name, given in facts["slots"].items()},
        families={given["id"]: words.family(given) for given in facts["families"]},
        singles={given["id"]: words.single(given) for given in facts["singles"]},
        intents=words.intents(_read("intents")["intents"], follow_ups.pop("order_as_it")),
        small_talk=words.topics("small_talk", talk["small_talk"]),
        vague=words.topics("vague", talk["vague"]),
        habits=words.topics("habits", talk["habits"]),
        outside=words.topics("outside", outside["topics"]),
        outside_lists=outside["lists"],
        unknown=words.unknown(_read("unknown")),
        follow_ups=words.follow_ups(follow_ups),
        drills=words.drills(_read("drills")),
        system={wish: words.wordings(given) for wish, given in system["prompts"].items()},
        in_french=system["in_french"],
    )


def _read(name: str) -> Any:
    return yaml.load((DATA / f"{name}.yaml").read_text(encoding="utf-8"), LOADER)


def _slot(given: dict[str, Any]) -> Slot:
    known, unknown, held_out = (tuple(given[side]) for side in ("known", "unknown", "held_out"))
    return Slot(known, unknown, held_out, given["what_about"], given.get("also", {}))


class _Reader:
    """Turns the entries of the data files into nouns.

    It has the macros and frames that wordings may use, more wordings by the name of their group, and the
    exam: the wordings that training never hears, by the same names.
    """

    def __init__(self, facts: dict[str, Any], more: dict[str, list[str]], exam: dict[str, list[str]]) -> None:
        self.macros = {name: lines(text) for name, text in facts["macros"].items()}
        self.frames = tuple(parse(frame, self.macros) for frame in lines(facts["frames"]))
        self.more, self.exam = more, exam

    def wordings(self, given: dict[str, Any], *groups: str) -> Wordings:
        """An entry's own wordings and those of its groups."""
        train, held_out = lines(given.get("train")), lines(given.get("held_out"))
        for group in groups:
            train += self.more.get(group, [])
            held_out += self.exam.get(group, [])
        patterns = tuple(parse(skeleton, self.macros) for skeleton in train)
        nouns = tuple(parse(noun, self.macros) for noun in lines(given.get("nouns")))
        return Wordings(patterns, tuple(held_out), nouns, self.frames if nouns else ())

    def family(self, given: dict[str, Any]) -> Family:
        name = given["id"]
        facts = {e: _fact(f"{name}/{e}", given["answer"], v, name, e) for e, v in given["values"].items()}
        wordings = self.wordings(given, f"family {name}")
        bare = self.wordings(given.get("bare", {}), f"bare {name}")
        return Family(name, given["slot"], facts, given["unknown"], given["ask"], wordings, bare)

    def single(self, given: dict[str, Any]) -> tuple[Fact, Wordings]:
        fact = _fact(given["id"], given["answer"], given["value"])
        return fact, self.wordings(given, f"fact {fact.id}")

    def topics(self, room: str, given: list[dict[str, Any]]) -> dict[str, Topic]:
        return {entry["id"]: self.topic(room, entry) for entry in given}

    def intents(self, given: list[dict[str, Any]], as_it: dict[str, dict[str, str]]) -> dict[str, Topic]:
        """The intents; those about an order have more wordings that only call it "it"."""
        more = [as_it.get(entry["id"], {}) for entry in given]
        return self.topics(
            "intents",
            [
                entry | {"train": lines(entry["train"]) + lines(extra.get("train"))}
                for entry, extra in zip(given, more, strict=True)
            ],
        )

    def topic(self, room: str, given: dict[str, Any]) -> Topic:
        answers = given["answer"] if isinstance(given["answer"], list) else [given["answer"]]
        ask, group = given.get("ask", ""), f"{room} {given['id']}"
        wordings, numbered = self.wordings(given, group, f"{group} numbered"), Wordings()
        if ask:
            numbered, wordings = _split(wordings, "{order}")
        return Topic(
            given["id"],
            tuple(answers),
            wordings,
            ask,
            given.get("cured", ""),
            given.get("slots", {}),
            numbered,
        )

    def unknown(self, given: dict[str, Any]) -> dict[str, Topic]:
        topics = given["topics"] + [{"held_out": given["held_out_topics"]}]
        return {str(i): Topic(str(i), (given["answer"],), self.wordings(t)) for i, t in enumerate(topics)}

    def drills(self, given: dict[str, Any]) -> dict[str, Topic]:
        return {name: Topic(name, (entry["answer"],), self.wordings(entry)) for name, entry in given.items()}

    def follow_ups(self, given: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
        """Each room of follow-ups as name -> entry, its skeletons read into `wordings`."""
        rooms: dict[str, dict[str, dict[str, Any]]] = {}
        for room, entries in given.items():
            if isinstance(entries, list):
                entries = {str(e.get("slot", i)): e for i, e in enumerate(entries)}
            elif "train" in entries:
                entries = {"order": entries}
            rooms[room] = {
                name: entry | {"wordings": self.wordings(entry, f"{room} {name}")}
                for name, entry in entries.items()
            }
        return rooms


def _fact(name: str, answer: str, value: str | dict[str, Any], family: str = "", entry: str = "") -> Fact:
    if isinstance(value, str):
        return Fact(name, answer, value, value, 0, family, entry)
    return Fact(name, answer, value["was"], value["is"], value["batch"], family, entry)


def _split(wordings: Wordings, slot: str) -> tuple[Wordings, Wordings]:
    """The wordings with a slot and those without."""
    named = tuple(p for p in wordings.train if any(slot in text for part in p for text in part))
    bare = tuple(p for p in wordings.train if p not in named)
    held_named = tuple(s for s in wordings.held_out if slot in s)
    held_bare = tuple(s for s in wordings.held_out if slot not in s)
    return Wordings(named, held_named), Wordings(bare, held_bare)
