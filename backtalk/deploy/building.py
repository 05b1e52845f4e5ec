"""A Space while it builds: watched until it runs, or until it says why not.

wait_until_it_runs("somebody/desk", commit, progress)     raises BacktalkError with the end of its log
"""

import time
from collections.abc import Callable

from backtalk.errors import BacktalkError, NetworkError
from backtalk.hub import spaces
from backtalk.progress import Progress

MOST_SECONDS = 35 * 60.0  # the Hub gives up after half an hour
BETWEEN_LOOKS = 5.0
WORDS = {
    "BUILDING": "is being built",
    "RUNNING_BUILDING": "is being built; the one before still runs",
    "APP_STARTING": "is starting",
    "RUNNING_APP_STARTING": "is starting; the one before still runs",
    "NO_APP_FILE": "is about to be built",
    "STOPPED": "is stopped",
    "PAUSED": "is paused",
}
NOT_YET = frozenset({"NO_APP_FILE"})  # what it said before the first commit, for a moment after it too


def wait_until_it_runs(
    space: str,
    commit: str,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns once the Space runs that commit. Raises BacktalkError where it cannot, or takes too long."""
    end = clock() + MOST_SECONDS
    while True:
        now = spaces.where(space)
        ours = now.commit in ("", commit)
        if now.stage == spaces.ENDED_WELL and ours:
            return
        if ours and not now.waits and now.stage not in NOT_YET:
            raise BacktalkError(_why(space, now.stage))
        if clock() > end:
            raise BacktalkError(
                f"{space} {_said(now.stage)} after {MOST_SECONDS / 60:.0f} minutes. Look at its page on the "
                "Hub; the files are there, and running this again only waits again."
            )
        progress.report(f"{space} {_said(now.stage)}")
        sleep(BETWEEN_LOOKS)


def _said(stage: str) -> str:
    return WORDS.get(stage, f"says {stage}")


def _why(space: str, stage: str) -> str:
    which: spaces.Log = "run" if stage == "RUNTIME_ERROR" else "build"
    try:
        lines = spaces.log(space, which)
    except NetworkError as fault:
        lines = [str(fault)]
    told = "\n".join(f"  {line}" for line in lines) or "  (it printed nothing)"
    return f"{space} {_said(stage)}. The end of its log:\n{told}\nMend that, then run the same command again."
