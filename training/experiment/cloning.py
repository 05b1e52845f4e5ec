"""A clone: a configuration made of another one, with changes; afresh, or on with the other's weights.

A warm clone begins at the step that its parent had reached: it passes over the rows that the parent saw, and
takes the steps that were left, with a schedule and an optimiser of its own.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from backtalk.card import file_entry
from backtalk.errors import WordsError
from backtalk.files import sync_folder
from training import checkpoint
from training.experiment.expand import Configuration
from training.experiment.prepare import Preparation, Prepared
from training.start import ADAPTER, Start


def made_clone(
    preparation: Preparation, configuration: Configuration, parent: Prepared, folder: Path
) -> Prepared:
    """The clone, ready to be trained. Raises WordsError where its changes are off or do not go together."""
    made = preparation.add(configuration)
    if not configuration.warm:
        return made
    _check(made, parent, configuration.warm)
    weights = folder / f"{configuration.name}.start"
    entries = [
        {"role": "adapter", "folder": str(weights), **file_entry(weights / name, weights)} for name in ADAPTER
    ]
    stage = replace(made.ready.stages[0], first=configuration.warm)
    return replace(made, ready=replace(made.ready, stages=(stage,), start=Start(weights, entries)))


def weights_kept(parent: Prepared, place: Path) -> None:
    """Copies the adapter that the parent has now: the parent goes on, and its checkpoints go."""
    if len(parent.ready.stages) > 1:
        raise WordsError(f"{parent.name} is a chain of methods; a warm clone needs one. Clone it cold")
    part = place.with_name(f".{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    source = parent.ready.folder
    if found := checkpoint.checkpoints(parent.ready.parts):
        source = found[-1]
    for name in ADAPTER:
        shutil.copyfile(source / name, part / name)
    shutil.rmtree(place, ignore_errors=True)
    part.rename(place)
    sync_folder(place.parent)


def _check(made: Prepared, parent: Prepared, warm: int) -> None:
    ours, theirs = made.recipe, parent.recipe
    if (ours.lora, ours.base) != (theirs.lora, theirs.base):
        raise WordsError(
            f"a warm clone keeps its parent's base and lora, and {made.configuration.told} changes them. "
            "Clone it cold"
        )
    if made.ready.steps <= warm:
        raise WordsError(
            f"{parent.name} took {warm} steps, and the clone would have {made.ready.steps} in all. Give it "
            "more: --set schedule.steps=N"
        )
