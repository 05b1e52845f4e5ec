"""Line 1: one round of 200 honest flags in 200 wordings, which a maintainer accepts.

Flagged facts right on held-out wordings, and nothing else lost.
"""

from statistics import fmean

from backtalk.models import MINI
from bench.loop_parts.setting import KEPT, Part, Setting, honest_flags, lines_of, reviewed, spread
from bench.report import bound
from training.mini.comparison import FLAGGED, TITLES, Line
from training.mini.stakeholders.sheet import FactSheet

FIXED, NEWLY_WRONG, POINTS = 0.95, 0.01, 1.0


def run(setting: Setting) -> Part:
    found = {seed: one_round(setting, seed) for seed in setting.seeds}
    rows = {name: [_line(lines, name) for _, lines in found.values()] for name in TITLES}
    after = [line.after for line in rows[FLAGGED]]
    lost = [line.newly_wrong for line in rows["facts"]]
    bounds = [
        bound("flagged facts right on held-out wordings", fmean(after), at_least=FIXED),
        bound("facts never flagged, newly wrong", fmean(lost), at_most=NEWLY_WRONG),
    ]
    bounds += [
        bound(f"{TITLES[name]}, points lost", fmean(-line.change for line in rows[name]), at_most=POINTS)
        for name in KEPT
    ]
    figures = {
        str(seed): {"verdict": word, "rows": [one.as_json() for one in lines]}
        for seed, (word, lines) in found.items()
    }
    return Part(bounds, _table(rows, [word for word, _ in found.values()]), figures)


def one_round(setting: Setting, seed: int) -> tuple[str, list[Line]]:
    """The verdict on the round of one seed, and its candidate against the base, promoted or not."""
    story = setting.story(f"one/seed-{seed}")
    flags = honest_flags(setting, story, seed, askers=1)
    reviewed(story, "review", flags, FactSheet(1))
    said = story.round("1", setting.recipe("one"), "accepted")
    return said["verdict"], lines_of(story, str(MINI), story.candidate(said), setting, {1})


def _line(lines: list[Line], name: str) -> Line:
    return next(line for line in lines if line.name == name)


def _table(rows: dict[str, list[Line]], words: list[str]) -> str:
    told = [f"one round, {len(words)} seeds: mean [lowest, highest]; verdicts: {', '.join(words)}"]
    for name, lines in rows.items():
        before, after, lost = (
            spread([getattr(line, what) for line in lines]) for what in ("before", "after", "newly_wrong")
        )
        told.append(f"{TITLES[name]:<38}{lines[0].n:>5}  before {before}  after {after}  newly wrong {lost}")
    return "\n".join(told)
