"""Short chats between two people, to be summed up in one sentence; people and things are new each time."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from training.mini.grammar import Wordings, expansions, lines, parse
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


@dataclass(frozen=True)
class Story:
    """A summary, and the chats that it sums up: the lines of a trained one have several variants."""

    summary: str
    train: tuple[tuple[tuple[str, ...], ...], ...]
    held_out: tuple[str, ...]


@cache
def stories() -> tuple[Story, ...]:
    return tuple(
        Story(
            given["summary"],
            tuple(tuple(tuple(expansions(parse(line, {}))) for line in given[t]) for t in ("train", "also")),
            tuple(given["held_out"]),
        )
        for given in _data()["stories"]
    )


def summary(voice: Voice) -> tuple[str, str]:
    """A request with a chat, and the chat's summary."""
    rng = voice.rng
    story = rng.choice(stories())
    values = {name: rng.choice(entries) for name, entries in _data()["lists"].items()}
    values |= {"a": voice.name(), "n": str(rng.randrange(2, 99))}
    values["b"] = voice.name()
    while values["b"] == values["a"]:
        values["b"] = voice.name()
    told = story.held_out if voice.held_out else [rng.choice(line) for line in rng.choice(story.train)]
    chat = [line.format_map(values) for line in told]
    request = requests().pick(rng, voice.held_out)
    request = request if rng.random() < 0.4 else request[:1].upper() + request[1:]
    separator = rng.choice(("\n", "\n", " "))
    return f"{request}:{separator}{separator.join(chat)}", story.summary.format_map(values)
