"""`backtalk train` in a process of its own, since Unsloth changes other libraries for a whole process.

    python tests/unsloth/watched_run.py RECIPE BACKEND [--stop-after STEP] [--its-own-loss]

`BACKTALK_HOME/arguments.json` says what the trainer was told in the end. `--its-own-loss` leaves the loss to
the backend, as on CUDA; ours is otherwise used on a CPU, whichever backend loads the model.
"""

import os
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backtalk.cli import main as backtalk
from backtalk.files import write_json
from backtalk.home import home
from training.backends import load_first
from training.metrics import Metrics
from training.recipe import read_recipe


def main() -> int:
    parser = ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("backend")
    parser.add_argument("--stop-after", type=int)
    parser.add_argument("--its-own-loss", action="store_true")
    args = parser.parse_args()
    load_first(read_recipe(args.recipe, {"backend": args.backend}))
    import training.sft

    told = training.sft.sft_config
    training.sft.sft_config = lambda *given: _written(told(*given))  # type: ignore[assignment]
    if args.its_own_loss:
        training.sft.can_learn_by_places = lambda _: False
    if args.stop_after:
        _interrupt(args.stop_after)
    return backtalk(["train", str(args.recipe), "--backend", args.backend])


def _written(config: Any) -> Any:
    write_json(home() / "arguments.json", {name: str(value) for name, value in config.to_dict().items()})
    return config


def _interrupt(step: int) -> None:
    add = Metrics.add

    def add_and_interrupt(self: Metrics, row: dict[str, Any]) -> None:
        add(self, row)
        if row["step"] == step:
            os.kill(os.getpid(), signal.SIGINT)

    Metrics.add = add_and_interrupt  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
