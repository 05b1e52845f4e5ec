"""Line 2: five rounds in a row, new flags each time. What was fixed stays fixed, the model stays near."""

import yaml

from backtalk.models import MINI
from bench.loop_parts.setting import Part, Setting, honest_flags, reviewed
from bench.report import bound
from bench.story import Story
from training.mini.comparison import OUTDATED
from training.mini.stakeholders.sheet import BATCHES, FactSheet

LOST, DRIFT = 0.01, 0.02


def run(setting: Setting) -> Part:
    story, rounds = setting.story(f"five/seed-{setting.seeds[0]}"), 2 if setting.quick else BATCHES
    items = setting.items(range(1, BATCHES + 1))
    batch_of = {item.id: item.batch for item in items if item.row == OUTDATED}
    right: dict[str, int] = {}  # items that were right after a round, and which
    told, lost, figures = (
        ["five rounds: round, verdict, right of its own batch, of earlier ones, lost"],
        0.0,
        [],
    )
    for number in range(1, rounds + 1):
        flags = honest_flags(setting, story, setting.seeds[0], number, askers=1)
        reviewed(story, f"review-{number}", flags, FactSheet(number))
        said = story.round(str(number), setting.recipe("five"), "accepted")
        wrong = story.wrong(story.candidate(said), items)
        own = [one not in wrong for one, batch in batch_of.items() if batch == number]
        gone = [one for one, when in right.items() if when < number and one in wrong]
        share = len(gone) / len(right) if right else 0.0
        lost = max(lost, share)
        right |= {one: number for one in batch_of if batch_of[one] == number and one not in wrong}
        told.append(
            f"{number:>3} {said['verdict']:<8} {sum(own) / max(len(own), 1):7.1%}  "
            f"lost {share:.2%} of {len(right)}"
        )
        figures.append(
            {
                "round": number,
                "verdict": said["verdict"],
                "right": sum(own),
                "of": len(own),
                "lost": len(gone),
            }
        )
    drift = _drift(story, str(story.candidate(said)), setting)
    told.append(f"bits per byte of the general set after {rounds} rounds: {drift:+.2%}")
    bounds = [
        bound("items fixed in an earlier round and lost, worst round", lost, at_most=LOST),
        bound("bits per byte of the general set, share more", drift, at_most=DRIFT),
    ]
    return Part(bounds, "\n".join(told), {"rounds": figures, "drift": drift})


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
