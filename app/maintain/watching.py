"""Experiments as the page shows them: read from their files, changed by the verb as a process.

    names()                                      newest first
    shown = look("samsum-0123abcd")              table, curves as SVG, a sentence on how it stands
    tell(["stop", "samsum-0123abcd", "c3"])      what the verb said

Whoever trains writes state.json and metrics.jsonl under BACKTALK_HOME/experiments/ID; nothing of training is
loaded here.
"""

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from html import escape
from typing import Any

from backtalk.files import read_json
from backtalk.home import home

HEADS = ("configuration", "standing", "step", "bits per byte", "loss", "seconds", "what it changes", "why")
WIDTH, HEIGHT, EDGE = 720, 320, 48
COLOURS = ("#4269d0", "#d9822b", "#d1495b", "#3a9d8f", "#3f8f3f", "#a07800", "#8e5bb5", "#c05a96", "#7a5c44",
           "#6b7280")  # fmt: skip
MOST_SECONDS = 60  # a verb that only leaves a request takes one
REPORT = "EXPERIMENT_REPORT.md"

Curves = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class Shown:
    """One experiment at this moment."""

    rows: list[list[Any]]
    curves: str
    told: str
    configurations: list[str]


def names() -> list[str]:
    """The experiments there are, the one that was written to last first."""
    paths = (home() / "experiments").glob("*/state.json")
    return [path.parent.name for path in sorted(paths, key=lambda path: -path.stat().st_mtime)]


def look(name: str) -> Shown:
    """The experiment of that name; empty where there is none."""
    if name not in names():
        return Shown([], "", "No experiment yet. Begin one: backtalk experiment run RECIPE", [])
    folder = home() / "experiments" / name
    state = read_json(folder / "state.json")
    lines = sorted(state["lines"], key=lambda line: (line["bits_per_byte"] is None, line["bits_per_byte"]))
    told = f"{state['phase']}. {state['more'].get('conclusion', '')}".strip()
    if first := state["first_comparison"]:
        told += f" All were compared for the first time after {first:.0f} s."
    if (folder / REPORT).is_file():
        told += f" The report: {folder / REPORT}"
    taught = [line["name"] for line in state["lines"] if line["standing"] != "baseline"]
    return Shown([_row(line) for line in lines], draw(curves(name), taught), told, taught)


def tell(words: list[str]) -> str:
    """Runs `backtalk experiment WORDS` and returns what it said, be it a fault."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "backtalk", "experiment", *words],
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"The command took longer than {MOST_SECONDS} seconds. Try it in a terminal."
    return (done.stdout if done.returncode == 0 else done.stderr).strip()


def draw(curves: Curves, order: list[str]) -> str:
    """The curves of all configurations as SVG: bits per byte over steps, lower is better."""
    known = [name for name in order if len(curves.get(name, ())) > 0]
    points = [point for name in known for point in curves[name]]
    if not points:
        return "<p>No comparison yet.</p>"
    most = max(step for step, _ in points) or 1
    low, high = min(value for _, value in points), max(value for _, value in points)
    reach = (high - low) or 1.0

    def at(step: int, value: float) -> str:
        across = EDGE + step / most * (WIDTH - 2 * EDGE)
        down = HEIGHT - EDGE - (value - low) / reach * (HEIGHT - 2 * EDGE)
        return f"{across:.1f},{down:.1f}"

    drawn = []
    for place, name in enumerate(known):
        colour, own = COLOURS[place % len(COLOURS)], curves[name]
        line = " ".join(at(*point) for point in own)
        across, down = at(*own[-1]).split(",")
        drawn.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn.append(f'<circle cx="{across}" cy="{down}" r="3" fill="{colour}"/>')
        drawn.append(f'<text x="{float(across) + 6:.1f}" y="{down}" fill="{colour}">{escape(name)}</text>')
    axes = (
        f'<text x="{EDGE}" y="{HEIGHT - 12}">step 0</text>'
        f'<text x="{WIDTH - EDGE}" y="{HEIGHT - 12}" text-anchor="end">{most}</text>'
        f'<text x="4" y="{EDGE}">{high:.3f}</text><text x="4" y="{HEIGHT - EDGE}">{low:.3f}</text>'
        f'<text x="{EDGE}" y="20">bits per byte on the development rows (lower is better)</text>'
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Curves of {len(known)} configurations" '
        f'style="max-width:100%;font:12px system-ui;fill:currentColor">{axes}{"".join(drawn)}</svg>'
    )


def curves(name: str) -> Curves:
    """Bits per byte of each configuration by step. What was measured again replaces what was there, a torn
    last line is left out.
    """
    found: dict[str, dict[int, float]] = defaultdict(dict)
    path = home() / "experiments" / name / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        found[row["configuration"]][row["step"]] = row["bits_per_byte"]
    return {name: sorted(points.items()) for name, points in found.items()}


def _row(line: dict[str, Any]) -> list[Any]:
    steps = f"{line['step']} of {line['steps']}" if line["steps"] else ""
    numbers = [line["bits_per_byte"], line["loss"]]
    shown = ["" if one is None else f"{one:.4f}" for one in numbers]
    return [
        line["name"],
        line["standing"],
        steps,
        *shown,
        f"{line['seconds']:.1f}",
        line["told"],
        line["why"],
    ]
