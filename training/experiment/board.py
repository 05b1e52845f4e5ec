"""The curves for TensorBoard, where the recipe has `logging.tensorboard: true`.

board = Board(folder)                tensorboard/c1, tensorboard/c2 ... in the experiment's folder
board.add(point)
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from backtalk.errors import WordsError
from training.experiment.points import Point


class Board:
    """One writer for each configuration. Raises WordsError where TensorBoard is not installed."""

    def __init__(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            raise WordsError(
                "logging.tensorboard is true, and the Python package tensorboard is not installed here. "
                "Install it, or leave that out: metrics.jsonl has every number."
            )
        self._folder = folder / "tensorboard"
        self._writers: dict[str, Any] = {}

    def add(self, point: Point) -> None:
        """Adds a comparison."""
        if point.configuration not in self._writers:
            kind = import_module("torch.utils.tensorboard").SummaryWriter
            self._writers[point.configuration] = kind(str(self._folder / point.configuration))
        writer = self._writers[point.configuration]
        writer.add_scalar("bits_per_byte", point.bits_per_byte, point.step)
        if point.loss is not None:
            writer.add_scalar("loss", point.loss, point.step)
        writer.flush()
