"""One frozen base in memory for all configurations: each has modules of its own around the same weights.

    bases = SharedBases()
    model = bases.load(recipe, base, plan)       as training.backends.with_peft.load, without reading it again
    model = bases.bare(recipe, base, plan)       untaught

A view is a copy of the module tree in which every tensor is the original. So adapters, hooks and modes of one
configuration do not touch another, and an adapter that is put on a view is called "default" in each.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

from training.backends import Plan
from training.backends.with_peft import open_base, with_adapter
from training.base import Base
from training.recipe import Recipe

Key = tuple[Path, bool, str]


class SharedBases:
    """The bases that were opened so far."""

    def __init__(self) -> None:
        self._opened: dict[Key, Any] = {}

    def load(self, recipe: Recipe, base: Base, plan: Plan) -> Any:
        """A view of the base with a fresh adapter, in training mode. Raises ModelError, WordsError."""
        return with_adapter(self.bare(recipe, base, plan), recipe, base)

    def bare(self, recipe: Recipe, base: Base, plan: Plan) -> Any:
        """A view of the base as it is. Raises ModelError where it cannot be read."""
        key = (base.folder, recipe.base.load_in_4bit, str(plan.numbers.hold))
        if key not in self._opened:
            self._opened[key] = open_base(recipe, base, plan)
        return view(self._opened[key])

    def keep_only(self, folder: Path) -> None:
        """Lets go of all other bases; views that are in use keep theirs."""
        self._opened = {key: model for key, model in self._opened.items() if key[0] == folder}


def view(model: Any) -> Any:
    """The same tensors in modules of their own."""
    shared = [*model.parameters(), *model.buffers()]
    shared += [module.quant_state for module in model.modules() if hasattr(module, "quant_state")]
    return deepcopy(model, {id(one): one for one in shared})
