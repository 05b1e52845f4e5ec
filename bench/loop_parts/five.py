"""Line 2: five rounds in a row, new flags each time. What was fixed stays fixed, the model stays near.

A fact is fixed where most of its held-out wordings are answered right, and lost where they are not any more.
Single wordings, which come and go with the order of the rows, are bound by the same share.
"""

from collections import Counter
from typing import Any

import yaml

from backtalk.models import MINI
from bench.loop_parts.setting import Part, Setting, honest_flags, reviewed
from bench.report import bound
from bench.story import Story
from training.mini.comparison import OUTDATED
from training.mini.questions import EvaluationItem
from training.mini.stakeholders.sheet import BATCHES, FactSheet

LOST, DRIFT = 0.01, 0.02
KINDS = ("facts", "wordings")


def run(setting: Setting) -> Part:
    story, count = setting.story(f"five/seed-{setting.seeds[0]}"), 2 if setting.quick else BATCHES
    fixed: dict[str, set[str]] = {kind: set() for kind in KINDS}
    rounds, told = [], ["five rounds: verdict, wordings right of its own batch, lost of earlier rounds"]
    for number in range(1, count + 1):
        said = _round(setting, story, number)
        own, right = _own(setting, number), _right(setting, story, said)
        lost = {kind: sorted(fixed[kind] - right[kind]) for kind in KINDS}
        share = len(right["wordings"] & own["wordings"]) / len(own["wordings"])
        earlier = ", ".join(f"{len(lost[kind])} of {len(fixed[kind])} {kind}" for kind in KINDS)
        told.append(f"{number:>3} {said['verdict']:<8} {share:7.1%}   {earlier}")
        before = {kind: len(fixed[kind]) for kind in KINDS}
        rounds.append({"verdict": said["verdict"], "right": share, "before": before, "lost": lost})
        for kind in KINDS:
            fixed[kind] |= right[kind] & own[kind]
    drift = _drift(story, str(story.candidate(said)), setting)
    told.append(f"bits per byte of the general set after {count} rounds: {drift:+.2%}")
    worst = {kind: max(len(one["lost"][kind]) / one["before"][kind] for one in rounds[1:]) for kind in KINDS}
    bounds = [
        *(
            bound(f"{kind} fixed in an earlier round and lost, worst round", worst[kind], at_most=LOST)
            for kind in KINDS
        ),
        bound("bits per byte of the general set, share more", drift, at_most=DRIFT),
    ]
    return Part(bounds, "\n".join(told), {"rounds": rounds, "drift": drift})


def _round(setting: Setting, story: Story, number: int) -> dict[str, Any]:
    """New flags on a batch of facts, a maintainer's decisions, and a round of all flags to date."""
    flags = honest_flags(setting, story, setting.seeds[0], number, askers=1)
    reviewed(story, f"review-{number}", flags, FactSheet(number))
    return story.round(str(number), setting.recipe("five"), "accepted")


def _own(setting: Setting, number: int) -> dict[str, set[str]]:
    """A batch's facts, and their held-out wordings."""
    items = [item for item in _outdated(setting) if item.batch == number]
    return {"facts": {item.fact for item in items}, "wordings": {item.id for item in items}}


def _right(setting: Setting, story: Story, said: dict[str, Any]) -> dict[str, set[str]]:
    """Of all facts that were once out of date: those that the round's model knows, and their wordings."""
    wrong, asked, right = story.wrong(story.candidate(said), _items(setting)), Counter[str](), Counter[str]()
    for item in _outdated(setting):
        asked[item.fact] += 1
        right[item.fact] += item.id not in wrong
    return {
        "facts": {fact for fact, count in right.items() if count * 2 > asked[fact]},
        "wordings": {item.id for item in _outdated(setting) if item.id not in wrong},
    }


def _items(setting: Setting) -> list[EvaluationItem]:
    return setting.items(range(1, BATCHES + 1))


def _outdated(setting: Setting) -> list[EvaluationItem]:
    return [item for item in _items(setting) if item.row == OUTDATED]


def _drift(story: Story, model: str, setting: Setting) -> float:
    """By what share the last model needs more bits per byte than the bundled one."""
    recipe = read_recipe(setting)
    words = [
        "evaluate",
        model,
        "--baseline",
        str(MINI),
        "--data",
        recipe["task"][0],
        "--general",
        *recipe["general"],
    ]
    said = story.piece("drift", lambda: story.verb("drift", [*words, "--json"], also=3))
    general = [row for row in said["metrics"]["models"] if row["part"] == "general"]
    now, before = (
        next(row["bits_per_byte"] for row in general if row["role"] == role) for role in ("model", "baseline")
    )
    return now / before - 1


def read_recipe(setting: Setting) -> dict[str, list[str]]:
    """The files of the gate in this bench's recipe."""
    return yaml.safe_load(setting.recipe("five").read_text(encoding="utf-8"))["gate"]
