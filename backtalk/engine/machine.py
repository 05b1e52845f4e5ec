"""The cores that this process may really use: affinity and the container's quota, not the host's count."""

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
OLD_QUOTA = Path("/sys/fs/cgroup/cpu")  # of the first version of cgroups


def usable_cores() -> int:
    """At least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota() or allowed))


def _quota() -> int:
    """Whole cores of the container's quota, 0 where there is none."""
    limit, period = _written_quota()
    return max(1, limit // period) if limit > 0 and period > 0 else 0


def _written_quota() -> tuple[int, int]:
    """Microseconds of computing in so many microseconds; 0 or less where nothing is limited."""
    try:
        limit, period = QUOTA.read_text().split()
        return (0 if limit == "max" else int(limit)), int(period)
    except (OSError, ValueError):
        pass
    try:
        quota, over = (int((OLD_QUOTA / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota, over
    except (OSError, ValueError):
        return 0, 0
