"""Line 4: votes alone, no correction. Planted bad habits are voted down, right answers up; KTO learns."""

from backtalk.models import MINI
from bench.loop_parts.setting import PEOPLE, Part, Setting
from bench.report import bound
from training.mini.comparison import TITLES, compare
from training.mini.desk import desk
from training.mini.evaluate import read_items
from training.mini.stakeholders.errands import errands
from training.mini.stakeholders.person import crowd
from training.mini.stakeholders.sheet import FactSheet, current_facts

FALL, POINTS = 0.60, 2.0
DOWN, UP = 120, 180
SHEET = FactSheet(0)


def run(setting: Setting) -> Part:
    seed = setting.seeds[0]
    story, recipe = setting.story(f"votes/seed-{seed}"), setting.recipe("votes", include="all")
    down, up = (30, 40) if setting.quick else (DOWN, UP)
    people = crowd(seed, honest=PEOPLE)
    habits = list(desk().habits.values())
    story.flags("habits", story.served(), errands(seed, habits, people, askers=1), SHEET, down)
    good = errands(seed + 1, current_facts(), people, askers=1)
    story.flags("facts", story.served(), good, SHEET, up)
    said = story.round("1", recipe, include="all")
    model = story.candidate(said)
    asked = [item for item in read_items() if item.row == "habits"]
    before, after = (story.wrong(ref, asked) for ref in (str(MINI), model))
    shown = [
        sum(any(bad in wrong.get(item.id, "") for bad in item.must_not) for item in asked)
        for wrong in (before, after)
    ]
    items = setting.items(())
    lines = compare(story.wrong(str(MINI), items), story.wrong(model, items), items, ())
    fall = 1 - shown[1] / shown[0] if shown[0] else 0.0
    lost = max(-line.change for line in lines)
    table = [
        f"votes alone: verdict {said['verdict']}; "
        f"habits shown in {shown[0]} of {len(asked)} answers, then {shown[1]}"
    ]
    table += [f"{TITLES[line.name]:<38}{line.before:8.1%} {line.after:8.1%}" for line in lines]
    bounds = [
        bound("planted habits, share by which they fall", fall, at_least=FALL),
        bound("points lost elsewhere, worst row", lost, at_most=POINTS),
    ]
    return Part(
        bounds,
        "\n".join(table),
        {"verdict": said["verdict"], "shown": shown, "rows": [one.as_json() for one in lines]},
    )
