"""Short chats between two people, to be summed up in one sentence; the people and things are new each time."""

from functools import cache
from typing import Any

import yaml

from training.mini.grammar import Wordings, expansions, key, lines, parse
from training.mini.places import DATA
from training.mini.voice import Voice


@cache
def _data() -> dict[str, Any]:
    return yaml.safe_load((DATA / "summaries.yaml").read_text(encoding="utf-8"))


@cache
def requests() -> Wordings:
    """How a summary is asked for."""
    given = _data()["requests"]
    return Wordings(tuple(parse(line, {}) for line in lines(given["train"])), tuple(lines(given["held_out"])))


@cache
def _stories() -> list[tuple[str, list[list[str]], list[list[str]]]]:
    """Each story as (summary, the variants of each trained line, the held-out lines)."""
    variants = [
        (story["summary"], *([list(expansions(parse(line, {}))) for line in story[side]] for side in SIDES))
        for story in _data()["stories"]
    ]
    return [(summary, train, held_out) for summary, train, held_out in variants]


SIDES = ("train", "held_out")


def summary(voice: Voice) -> tuple[str, str]:
    """A request with a chat, and the chat's summary."""
    rng = voice.rng
    sentence, train, held_out = rng.choice(_stories())
    values = {name: rng.choice(entries) for name, entries in _data()["lists"].items()}
    values |= {"a": voice.name(), "n": str(rng.randrange(2, 99))}
    values["b"] = voice.name()
    while values["b"] == values["a"]:
        values["b"] = voice.name()
    chat = [rng.choice(line).format_map(values) for line in (held_out if voice.held_out else train)]
    request = requests().pick(rng, voice.held_out)
    request = request if rng.random() < 0.4 else request[:1].upper() + request[1:]
    separator = rng.choice(("\n", "\n", " "))
    return f"{request}:{separator}{separator.join(chat)}", sentence.format_map(values)


def held_out_lines() -> set[str]:
    """The keys of the chat lines that only the evaluation has."""
    return {key(text) for _, _, held_out in _stories() for line in held_out for text in line}


def trained_lines() -> set[str]:
    return {key(text) for _, train, _ in _stories() for line in train for text in line}
