"""Line 2: five rounds in a row, new flags each time. What was fixed stays fixed, the model stays near.

A fact is fixed where most of its held-out wordings are answered right, and lost where they are not any more.
Single wordings come and go with the order of the rows: they are told beside it.
"""

from collections.abc import Iterable
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


def run(setting: Setting) -> Part:
    story, rounds = setting.story(f"five/seed-{setting.seeds[0]}"), 2 if setting.quick else BATCHES
    items = [item for item in setting.items(range(1, BATCHES + 1)) if item.row == OUTDATED]
    fixed: dict[str, int] = {}  # facts, by the round after which most of their wordings were right
    right: dict[str, int] = {}  # wordings, likewise
    told = ["five rounds: verdict, wordings right of its own batch, lost of earlier rounds"]
    figures: list[dict[str, Any]] = []
    for number in range(1, rounds + 1):
        flags = honest_flags(setting, story, setting.seeds[0], number, askers=1)
        reviewed(story, f"review-{number}", flags, FactSheet(number))
        said = story.round(str(number), setting.recipe("five"), "accepted")
        wrong = story.wrong(story.candidate(said), setting.items(range(1, BATCHES + 1)))
        own = [item for item in items if item.batch == number]
        now = {item.id for item in items if item.id not in wrong}
        known = {
            fact for fact, wordings in _by_fact(items).items() if len(wordings & now) * 2 > len(wordings)
        }
        lost = {"facts": [*fixed.keys() - known], "wordings": [*right.keys() - now]}
        told.append(
            f"{number:>3} {said['verdict']:<8} {len(now & {item.id for item in own}) / len(own):7.1%}   "
            f"{len(lost['facts'])} of {len(fixed)} facts, {len(lost['wordings'])} of {len(right)} wordings"
        )
        figures.append(
            {
                "round": number,
                "verdict": said["verdict"],
                "right": len(now & {item.id for item in own}),
                "of": len(own),
                "facts": len(fixed),
                "wordings": len(right),
                "lost": lost,
            }
        )
        fixed |= {item.fact: number for item in own if item.fact in known}
        right |= {item.id: number for item in own if item.id in now}
    drift = _drift(story, str(story.candidate(said)), setting)
    told.append(f"bits per byte of the general set after {rounds} rounds: {drift:+.2%}")
    worst = max(len(row["lost"]["facts"]) / row["facts"] for row in figures if row["facts"])
    bounds = [
        bound("facts fixed in an earlier round and lost, worst round", worst, at_most=LOST),
        bound("bits per byte of the general set, share more", drift, at_most=DRIFT),
    ]
    return Part(bounds, "\n".join(told), {"rounds": figures, "drift": drift})


def _by_fact(items: Iterable[EvaluationItem]) -> dict[str, set[str]]:
    """The held-out wordings of each fact."""
    found: dict[str, set[str]] = {}
    for item in items:
        found.setdefault(item.fact, set()).add(item.id)
    return found


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
