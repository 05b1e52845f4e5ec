"""Runs that are killed (SIGKILL) at one moment after the other, and finished each time.

    python tests/training/killed_run.py KILLS RECIPE [KILLS RECIPE ...]

Every line of the files that write checkpoints and metrics is a moment: first they are counted in a run
without a kill, then KILLS of them, evenly spread, are tried, each in a state folder of its own. Prints a
list as JSON, for each recipe how many runs died, how many of these in the midst of writing a checkpoint, and
the sha256 of every adapter. The libraries are loaded once, and so are those that a run loads on its way: each
run is a fork.
"""

import gc
import importlib
import io
import json
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402

from backtalk.files import sha256_of  # noqa: E402
from training.picture import draw_loss  # noqa: E402
from training.train import main as train  # noqa: E402

ON_THE_WAY = (
    "training.run", "training.sft", "training.preference", "training.backends.with_peft",
    "peft.utils.transformers_weight_conversion", "torch.profiler._cupti_monitor", "torch.utils.serialization",
)  # fmt: skip
WATCHED = ("training/checkpoint.py", "training/metrics.py", "backtalk/files.py")


def main() -> None:
    os.fsync = lambda _descriptor: None  # a kill loses nothing that the system has taken
    place, words = Path(os.environ["BACKTALK_HOME"]), sys.argv[1:]
    _load(place)
    told = [
        _killed(recipe, int(kills), place / str(number))
        for number, (kills, recipe) in enumerate(zip(words[::2], words[1::2], strict=True))
    ]
    print(json.dumps(told))


def _load(place: Path) -> None:
    """Everything that the runs import, and what drawing a picture reads besides: fonts, kinds of files."""
    for name in ON_THE_WAY:
        importlib.import_module(name)
    place.mkdir(parents=True)
    rows = [{"method": "sft", "step": step, "loss": 1.0} for step in (1, 2)]
    draw_loss(rows, place / "loss.png", "a run")
    gc.collect()
    gc.freeze()


def _killed(recipe: str, kills: int, place: Path) -> dict[str, Any]:
    place.mkdir()
    counted = place / "moments"
    assert _run(recipe, place / "whole", count_into=counted) == 0
    moments = int(counted.read_text())
    told: dict[str, Any] = {"died": 0, "while_writing": 0, "wanted": _adapter(place / "whole"), "found": []}
    for number in range(kills):
        home = place / str(number)
        ended = _run(recipe, home, kill_at=moments * (number + 1) // (kills + 1))
        told["died"] += os.WIFSIGNALED(ended)
        told["while_writing"] += any(home.glob("runs/**/.checkpoint-*.part"))
        assert not list(home.glob("runs/*/card.json"))
        assert _run(recipe, home) == 0
        told["found"].append(_adapter(home))
    return told


def _run(recipe: str, home: Path, kill_at: int = 0, count_into: Path | None = None) -> int:
    """The verb in a child of this process; how it ended, as `waitpid` says it."""
    if child := os.fork():
        return os.waitpid(child, 0)[1]
    os.environ["BACKTALK_HOME"] = str(home)
    torch.set_num_threads(1)
    moment = _Moment(kill_at)
    if kill_at or count_into:
        sys.settrace(moment.look)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        code = train([recipe])
    sys.settrace(None)
    if count_into:
        count_into.write_text(str(moment.count))
    os._exit(code)


class _Moment:
    def __init__(self, kill_at: int):
        self.count, self._kill_at = 0, kill_at

    def look(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        if event == "line":
            self.count += 1
            if self.count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.look


def _adapter(home: Path) -> str:
    (card,) = home.glob("runs/*/card.json")
    return sha256_of(card.with_name("adapter_model.safetensors"))


if __name__ == "__main__":
    main()
