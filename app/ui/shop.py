"""Whether a model is the desk of the shop: the bundled one, or one that a round taught from it.

The page greets as the shop's desk then, and offers its questions.
"""

from functools import cache

from backtalk.errors import BacktalkError
from backtalk.files import read_json
from backtalk.gguf_check import head
from backtalk.models import MINI, Model

PARENT = "backtalk.parent_sha256"


@cache
def is_shop(model: Model) -> bool:
    """By its file: the weights that it says it was taught from; a file that is gone says nothing."""
    if model.path == MINI or model.name.startswith("mini"):
        return True
    try:
        return head(model.path).get(PARENT) in _bundled_weights()
    except BacktalkError:
        return False


@cache
def _bundled_weights() -> frozenset[str]:
    try:
        outputs = read_json(MINI.parent / "card.json")["outputs"]
    except (BacktalkError, OSError, KeyError):
        return frozenset()
    return frozenset(one["sha256"] for one in outputs if one["path"].endswith(".safetensors"))
