"""What every benchmark prints at its end: a table of its bounds, and one JSON object as the last line.

    report("kill", [bound("flags lost", lost, at_most=0)])

A bound that could not be measured here has the value None and says why.
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


def bound(
    name: str,
    value: float | None,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    why: str = "",
) -> Bound:
    """A promise beside what was measured; give one of `at_most` and `at_least`."""
    if at_most is not None:
        return Bound(name, value, f"<= {at_most:g}", None if value is None else value <= at_most, why)
    if at_least is not None:
        return Bound(name, value, f">= {at_least:g}", None if value is None else value >= at_least, why)
    raise ValueError(f"The bound '{name}' has neither at_most nor at_least.")


def report(bench: str, bounds: Sequence[Bound], **more: Any) -> None:
    """Prints the table, then the JSON line with `more` in it; nothing may be printed after it."""
    width = max(len(entry.name) for entry in bounds)
    for entry in bounds:
        value = "not measured" if entry.value is None else f"{entry.value:.4g}"
        word = {True: "holds", False: "BROKEN", None: entry.why}[entry.holds]
        print(f"{entry.name:<{width}}  {value:>12}  {entry.bound:<10}  {word}")
    entries = [{name: value for name, value in asdict(entry).items() if value != ""} for entry in bounds]
    print(json.dumps({"bench": bench, "machine": machine(), "bounds": entries, **more}), flush=True)


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
