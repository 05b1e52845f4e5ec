"""The model that is served now: what a candidate has to beat."""

from typing import Any

from backtalk.config import read_yaml
from backtalk.home import home
from backtalk.models import MINI, POINTER, resolve
from backtalk.round.recipe import RoundRecipe, found


def current_of(recipe: RoundRecipe) -> dict[str, Any]:
    """What is served now, else the base itself: its `ref`, `name`, `sha256` and `round`."""
    model = resolve("promoted") if (home() / POINTER).exists() else resolve("mini")
    if model.path == MINI and not teaches_mini(recipe):
        return {"ref": "base", "name": "the untaught base", "sha256": "", "round": 0}
    return {"ref": str(model.path), "name": model.name, "sha256": model.sha256, "round": model.round}


def teaches_mini(recipe: RoundRecipe) -> bool:
    """Whether the recipe's base is the bundled model."""
    return str(read_yaml(found(recipe.train.recipe)).get("base", {}).get("model", "mini")) == "mini"
