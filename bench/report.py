"""What every benchmark prints at its end: a table of its bounds, and one JSON object as the last line.

    report("kill", [at_most("flags lost", lost, 0)])

A bound that could not be measured here says why: `not_measured(name, bound, why)`.
"""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Bound:
    """One promise: its name, what was measured, what was promised, whether it holds."""

    name: str
    value: float | None
    bound: str
    holds: bool | None
    why: str = ""


def at_most(name: str, value: float, limit: float) -> Bound:
    return Bound(name, value, f"<= {limit:g}", value <= limit)


def at_least(name: str, value: float, limit: float) -> Bound:
    return Bound(name, value, f">= {limit:g}", value >= limit)


def not_measured(name: str, bound: str, why: str) -> Bound:
    return Bound(name, None, bound, None, why)


def report(bench: str, bounds: Sequence[Bound]) -> None:
    """Prints the table, then the JSON line; nothing may be printed after it."""
    width = max(len(bound.name) for bound in bounds)
    for bound in bounds:
        value = "not measured" if bound.value is None else f"{bound.value:.4g}"
        word = {True: "holds", False: "BROKEN", None: bound.why}[bound.holds]
        print(f"{bound.name:<{width}}  {value:>12}  {bound.bound:<10}  {word}")
    entries = [{name: value for name, value in asdict(bound).items() if value != ""} for bound in bounds]
    print(json.dumps({"bench": bench, "machine": machine(), "bounds": entries}), flush=True)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": _first_value("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _first_value(path: str, name: str) -> str:
    """The value of the first `name : value` line of a file of the kernel's, empty where there is none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
