"""The model that is served now: what a candidate has to beat."""

from typing import Any

from backtalk import hub
from backtalk.config import read_yaml
from backtalk.home import home
from backtalk.models import MINI, POINTER, Model, resolve
from backtalk.round.recipe import RoundRecipe, found


def current_of(recipe: RoundRecipe, offline: bool = False) -> dict[str, Any]:
    """What is served now, else the base itself: its `ref`, `name`, `sha256` and `round`.

    Where the round publishes to a model repository that is what its pointer names, whoever moved it: this
    state folder may know nothing of earlier rounds. Else, and `offline`, it is what is served here. Raises
    ModelError, and NetworkError where the Hub is not reached.
    """
    model = _served_on_hub(recipe.hub.model) if recipe.hub.model and not offline else None
    model = model or _served_here()
    if model.path == MINI and not teaches_mini(recipe):
        return {"ref": "base", "name": "the untaught base", "sha256": "", "round": 0}
    return {"ref": str(model.path), "name": model.name, "sha256": model.sha256, "round": model.round}


def teaches_mini(recipe: RoundRecipe) -> bool:
    """Whether the recipe's base is the bundled model."""
    return str(read_yaml(found(recipe.train.recipe)).get("base", {}).get("model", "mini")) == "mini"


def _served_on_hub(repo: str) -> Model | None:
    """What the repository's pointer names; None where there is no pointer yet."""
    head = hub.head(repo, kind="model")
    if head is None or POINTER not in hub.files(repo, head.commit, kind="model"):
        return None
    return resolve(f"hf://{repo}@{head.commit}/{POINTER}")


def _served_here() -> Model:
    return resolve("promoted") if (home() / POINTER).exists() else resolve("mini")
