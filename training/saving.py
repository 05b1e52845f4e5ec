"""Checkpoints of TRL's trainers that are whole or not there, and hold the taught adapter alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training import checkpoint

TAUGHT = "default"
"""PEFT's name of the adapter that learns; TRL may keep a frozen one beside it, which nobody needs again."""


class SavesWhole:
    """Stands before a trainer of TRL among the bases of a class. `keep`: how many checkpoints are kept."""

    keep: int

    def floating_point_ops(self: Any, inputs: Any) -> int:
        """Not counted: TRL walks through all modules for it in every step."""
        return 0

    def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        """As TRL does, but into a folder that takes its name when it is whole, and without the tokenizer."""
        folder, step = Path(self.args.output_dir), self.state.global_step
        if not self.args.should_save:
            self._save_random_numbers(checkpoint.part_of(folder, step))
            return
        with checkpoint.writing(folder, step) as part, _without_card(self.model):
            self._save_random_numbers(part)
            self.model.save_pretrained(part, save_embedding_layers=False, selected_adapters=[TAUGHT])
            self._save_optimizer_and_scheduler(str(part))
            self._save_scaler(str(part))
            self.state.save_to_json(str(part / "trainer_state.json"))
        checkpoint.keep_newest(folder, self.keep)

    def _save_random_numbers(self: Any, part: Path) -> None:
        """Each process writes its own, between the moments when the folder is there and when it is closed."""
        self.accelerator.wait_for_everyone()
        self._save_rng_state(str(part))
        self.accelerator.wait_for_everyone()


@contextmanager
def _without_card(model: Any) -> Iterator[None]:
    """PEFT puts a card for people beside the weights: more than half the time of a small checkpoint, and
    nobody reads it there.
    """
    model.create_or_update_model_card = lambda _folder: None
    try:
        yield
    finally:
        del model.create_or_update_model_card
