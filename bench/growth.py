"""A picture of how waiting grows with the number of visitors, a line for each server: SVG, no library.

draw({"backtalk": {1: 0.4, 8: 1.2, 32: 3.0}, "llama-server": {...}}, Path("docs/images/visitors.svg"),
     title="Follow-up questions: seconds to the first token, median")
"""

import math
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from backtalk.files import write_text

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 420, 64, 48, 150, 48  # pixels
COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7e22ce")
INK, FAINT = "#444", "#ddd"

Lines = Mapping[str, Mapping[int, float]]


def draw(lines: Lines, path: Path, title: str) -> None:
    """Both axes are logarithmic: twice the visitors is the same way to the right everywhere."""
    write_text(path, "\n".join(_svg(lines, title)) + "\n")


def _svg(lines: Lines, title: str) -> Iterator[str]:
    counts = sorted({count for line in lines.values() for count in line})
    values = [value for line in lines.values() for value in line.values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    span = max(1, high - low)
    wide = math.log2(counts[-1] / counts[0]) or 1.0

    def across(count: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log2(count / counts[0]) / wide

    def down(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(value) - low) / span

    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
    yield f' font-size="13" fill="{INK}"><rect width="100%" height="100%" fill="white"/>'
    yield _text(LEFT, TOP / 2, title, "start")
    for power in range(low, low + span + 1):
        y = down(10.0**power)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>'
        yield _text(LEFT - 8, y + 4, f"{10.0**power:g} s", "end")
    for count in counts:
        yield _text(across(count), HEIGHT - BOTTOM + 20, str(count), "middle")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "visitors", "middle")
    for (name, line), colour in zip(lines.items(), COLOURS, strict=False):
        places = [(across(count), down(value)) for count, value in sorted(line.items())]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places)
        yield _text(places[-1][0] + 8, places[-1][1] + 4, name, "start", colour)
    yield "</svg>"


def _text(x: float, y: float, words: str, anchor: str, colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
