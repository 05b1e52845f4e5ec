"""Which tests go first: the files that took longest when it was last measured, so that what is left for the
end is short and no worker waits long for another.

    python -m pytest --numprocesses logical --dist loadgroup --no-loadscope-reorder --write-seconds

measures anew, on a quiet machine: seconds.json has the seconds of every group that took a few. They only have
to be right enough for an order.
"""

import json
from collections import Counter
from collections.abc import Iterable
from math import inf
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SECONDS = TESTS / "seconds.json"
BROWSER = "browser"
FEW = 2  # seconds from which on a group is written down


def group_of(path: Path) -> str:
    """The tests of one file stay together, and so do all that open a browser."""
    within = path.relative_to(TESTS)
    return BROWSER if "e2e" in within.parts else within.as_posix()


def longest_first(groups: Iterable[str]) -> dict[str, int]:
    """The place of each group. Those without a number follow in the order in which they come; the browser's
    tests, the largest group, go first until they have one.
    """
    known = {BROWSER: inf, **_read()}
    ordered = sorted(dict.fromkeys(groups), key=lambda group: -known.get(group, 0.0))
    return {group: place for place, group in enumerate(ordered)}


class Stopwatch:
    """Adds up what the tests of each group took, wherever they ran, and writes it down at the end."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._took: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._took[group_of(self._root / report.nodeid.partition("::")[0])] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Files that were not run keep their number, and those that are gone lose it."""
        known = {
            group: took for group, took in _read().items() if (TESTS / group).exists() or group == BROWSER
        }
        found = Counter(known | {group: round(took) for group, took in self._took.items()})
        seconds = {group: took for group, took in found.most_common() if took >= FEW}
        SECONDS.write_text(json.dumps(seconds, indent=1) + "\n", encoding="utf-8")


def _read() -> dict[str, float]:
    return json.loads(SECONDS.read_text(encoding="utf-8"))
