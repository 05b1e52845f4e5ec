"""Line 8: ten flags are taken back after round 1. Round 2 holds them no more; what only they said is gone.

Nine flags are all that anybody said of one fact; the tenth is one of many on another.
"""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from backtalk.files import read_json
from bench.loop_parts.setting import PEOPLE, Part, Setting
from bench.report import bound
from bench.story import Story
from training.mini.stakeholders.errands import errands
from training.mini.stakeholders.person import crowd
from training.mini.stakeholders.sheet import FactSheet, changed_facts

ALONE, ASKERS = 9, 3
SETS = ("sft.jsonl", "kto.jsonl", "dpo.jsonl", "eval.jsonl")


def run(setting: Setting) -> Part:
    seed = setting.seeds[0]
    story, recipe = setting.story(f"retract/seed-{seed}"), setting.recipe("retract")
    lonely, *others = changed_facts(1)
    people, sheet = crowd(seed, honest=PEOPLE), FactSheet(1)
    few = islice(errands(seed, [lonely], _patient(people), askers=ASKERS), ALONE)
    alone = story.flags("alone", story.served(), few, sheet, ALONE)
    many = story.flags(
        "others", story.served(), errands(seed + 1, others, people), sheet, setting.flags - ALONE
    )
    first = story.round("1", recipe)
    said_by_many = next(flag for flag in many if "correction" in flag["flag"])
    taken_back = [flag["flag_id"] for flag in (*alone, said_by_many)]
    for name in taken_back:
        story.piece(f"retract-{name}", lambda: story.verb("retract", ["flags", "retract", name, "--json"]))  # noqa: B023
    second = story.round("2", recipe)
    texts = _texts_of(story, second)
    still_there = sum(any(name in text for text in texts) for name in taken_back)
    told, right = [], {}
    for number, said in ((1, first), (2, second)):
        right[number] = {
            fact: _right(story, said, setting, fact) for fact in (lonely.id, said_by_many["about"])
        }
        told.append(f"round {number}: {said['verdict']}; right on held-out wordings: {right[number]}")
    bounds = [
        bound("retracted flags in round 2's curated set or cards", still_there, at_most=0),
        bound("fact that only they flagged, right before", right[1][lonely.id], at_least=0.6),
        bound("fact that only they flagged, right after", right[2][lonely.id], at_most=0.0),
        bound("fact that others flagged too, right after", right[2][said_by_many["about"]], at_least=0.8),
    ]
    return Part(bounds, "\n".join(told), {"right": right})


def _patient(people: list[Any]) -> list[Any]:
    """People who write every correction down, without a slip."""
    return [replace(person, patience=1.0, slips=0.0) for person in people]


def _right(story: Story, said: dict[str, Any], setting: Setting, fact: str) -> float:
    items = [item for item in setting.items({1}) if item.fact == fact]
    wrong = story.wrong(story.candidate(said), setting.items({1}))
    return sum(item.id not in wrong for item in items) / max(len(items), 1)


def _texts_of(story: Story, said: dict[str, Any]) -> list[str]:
    """What a round's set and its cards say; the manifest tells of every flag why it is not used, and may."""
    folder = Path(said["folder"])
    metrics = read_json(folder / "card.json")["metrics"]
    curated = story.home / "curated" / metrics["curated"]
    files = [*(curated / name for name in SETS), curated / "card.json", folder / "card.json"]
    return [file.read_text(encoding="utf-8") for file in files]
