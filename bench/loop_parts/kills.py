"""Line 6: rounds that are killed -9 at random moments come to the same verdict and the same file."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from bench.loop_parts.setting import Part, Setting, honest_flags
from bench.report import bound
from bench.story import Story

KILLS, QUICK_KILLS = 10, 2
KILLS_A_ROUND = 2


def run(setting: Setting) -> Part:
    seed, kills = setting.seeds[0], QUICK_KILLS if setting.quick else KILLS
    first = setting.story(f"kills/seed-{seed}")
    honest_flags(setting, first, seed)
    recipe = setting.recipe("kills")
    wanted = first.copy(setting.work / "kills/whole").piece("timed", lambda: _timed(setting, seed))
    chance = random.Random(seed)
    told = [f"uninterrupted: {wanted['verdict']}, sha256 {wanted['sha256'][:12]}, {wanted['seconds']:.0f} s"]
    killed = differing = number = 0
    while killed < kills:
        story = first.copy(setting.work / f"kills/round-{number}")
        ends = list(_kills(story, str(recipe), chance, wanted["seconds"]))
        said = story.round("1", recipe)
        same = (said["verdict"], said["sha256"]) == (wanted["verdict"], wanted["sha256"])
        killed += sum(end["killed"] for end in ends)
        differing += not same
        number += 1
        moments = ", ".join(f"{end['after']:.0f}" for end in ends if end["killed"])
        told.append(f"killed after {moments} s: {said['verdict']}, {said['sha256'][:12]}")
    bounds = [
        bound("kills -9", killed, at_least=kills),
        bound("rounds with another verdict or another sha256", differing, at_most=0),
    ]
    return Part(bounds, "\n".join(told), {"whole": wanted})


def _timed(setting: Setting, seed: int) -> dict[str, object]:
    began = time.monotonic()
    said = setting.story("kills/whole").round("1", setting.recipe("kills"))
    return {"verdict": said["verdict"], "sha256": said["sha256"], "seconds": time.monotonic() - began}


def _kills(story: Story, recipe: str, chance: random.Random, seconds: float) -> Iterator[dict[str, Any]]:
    """Runs that are killed at random moments of an uninterrupted one, each going on from the one before."""
    moments = sorted(chance.uniform(0, seconds) for _ in range(KILLS_A_ROUND))
    for place, (begin, end) in enumerate(pairwise([0.0, *moments])):
        yield story.piece(f"kill-{place}", lambda: _kill(story, recipe, end - begin))  # noqa: B023


def _kill(story: Story, recipe: str, moment: float) -> dict[str, Any]:
    """Starts the round and kills it, with nothing else, after so many seconds; a run may end before."""
    words = [
        sys.executable,
        "-m",
        "backtalk",
        "round",
        recipe,
        "--include",
        "agreed",
        "--by",
        "bench",
        "--offline",
        "--json",
    ]
    environment = {**os.environ, "BACKTALK_HOME": str(story.home)}
    silent = subprocess.DEVNULL
    process = subprocess.Popen(words, env=environment, stdin=silent, stdout=silent, stderr=silent)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
    return {"after": moment, "killed": process.wait() == -signal.SIGKILL}
