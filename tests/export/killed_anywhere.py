"""Runs a verb again and again, each time killed (SIGKILL) one line later, and looks at the pointer each time.

    python tests/export/killed_anywhere.py export.promote m3

Every line of the files that move the pointer is a step. After each kill the pointer has to be the one before
or the one after, but for its times. What a kill leaves behind is not cleaned up: the next run begins among
it, and the last one has to finish. Prints what it counted. Nothing is flushed to the disk here: a kill loses
nothing that the system has taken, and a busy disk would make a minute of it.
"""

import io
import json
import os
import signal
import sys
from contextlib import redirect_stdout
from importlib import import_module
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backtalk.home import home  # noqa: E402

STEPS = ("backtalk/files.py", "export/pointer.py")


def main() -> None:
    os.fsync = lambda _descriptor: None
    verb, words = import_module(sys.argv[1]).main, sys.argv[2:]
    path = home() / "promoted.json"
    before = path.read_bytes()
    assert not _killed_at(-1, verb, words)
    after = _meaning(path.read_bytes())
    assert after != _meaning(before)
    path.write_bytes(before)
    counted = {"kills": 0, "before": 0, "after": 0, "neither": 0}
    for step in count():
        if not _killed_at(step, verb, words):
            break
        found = _meaning(path.read_bytes())
        counted["kills"] += 1
        counted["before"] += found == _meaning(before)
        counted["after"] += found == after
        counted["neither"] += found not in (_meaning(before), after)
        if found == after:
            path.write_bytes(before)
    print(json.dumps({**counted, "finished": _meaning(path.read_bytes()) == after}))


def _killed_at(step: int, verb: Any, words: list[str]) -> bool:
    """Runs the verb in a child that dies at this line; -1: it runs to its end. Says whether it died."""
    child = os.fork()
    if child == 0:
        with redirect_stdout(io.StringIO()):
            sys.settrace(_dying_at(step))
            verb(words)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _dying_at(step: int) -> Any:
    left = [step]

    def trace(frame: FrameType, event: str, _value: Any) -> Any:
        if not frame.f_code.co_filename.endswith(STEPS):
            return None
        if event == "line":
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
        return trace

    return trace


def _meaning(content: bytes) -> Any:
    """The pointer without the times at which it was moved."""
    whole = json.loads(content)
    for part in (whole, whole.get("rolled_back", {})):
        part.pop("when", None)
    for one in whole["earlier"]:
        one.pop("when", None)
    return whole


if __name__ == "__main__":
    main()
