"""The cores that this process may really use: affinity and the container's quota, not the host's count."""

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """At least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota() or allowed))


def _quota() -> int:
    """Whole cores of the container's quota, 0 where there is none."""
    try:
        limit, period = QUOTA.read_text().split()
    except (OSError, ValueError):
        return 0
    return 0 if limit == "max" else max(1, int(limit) // int(period))
