"""What is said of one class of models so that it can be written, and how its settings are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gguf
import numpy as np

from backtalk.errors import ModelError

Config = Mapping[str, Any]
Tensor = np.ndarray
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """How one class of models is written: its settings, its tensors' names and shapes, changes to them."""

    kind: gguf.MODEL_ARCH
    layers: Callable[[Config], int]
    check: Callable[[Config], None]
    """Raises ModelError for a setting that llama.cpp would silently compute in another way."""
    write_settings: Callable[[gguf.GGUFWriter, Config], None]
    shapes: Callable[[Config], Shapes]
    """Every tensor that the settings ask for, by its GGUF name: rows first, after the changes."""
    change: Mapping[str, Callable[[Tensor, Config], Tensor]] = field(default_factory=dict)
    """Ends of tensor names -> how the rows of these tensors are put in order."""
    transposed: tuple[str, ...] = ()
    """Ends of names of matrices that are stored with inputs as rows."""
    ignored: tuple[str, ...] = ()
    """Ends of names of tensors that older files hold and nobody reads."""
    exact: frozenset[str] = frozenset()
    """GGUF names of matrices that stay F32 in every type."""
    extra: Callable[[Config], Mapping[str, Tensor]] = lambda _: {}
    """Tensors that the GGUF wants and the folder does not hold, by their GGUF names."""


def count(config: Config, name: str, default: int = 0) -> int:
    """A whole number above zero; `default` stands in where the entry is absent or null."""
    value = config.get(name)
    value = default if value is None else value
    if type(value) is not int or value < 1:
        raise ModelError(
            f"config.json says {name} is {config.get(name)!r}, and a whole number above zero was wanted. "
            "Take config.json from where the weights came from."
        )
    return value


def number(config: Config, name: str, default: float | None = None) -> float:
    """A finite number above zero; `default` stands in where the entry is absent or null."""
    value = config.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ModelError(
            f"config.json says {name} is {config.get(name)!r}, and a number above zero was wanted. "
            "Take config.json from where the weights came from."
        )
    return float(value)


def only(config: Config, name: str, wanted: tuple[Any, ...], default: Any) -> None:
    """Raises ModelError unless the entry is one of `wanted`: llama.cpp knows no other for this class."""
    value = config.get(name, default)
    if value not in wanted:
        raise ModelError(
            f"config.json says {name} is {value!r}, which llama.cpp would compute as {wanted[0]!r}. "
            "This model cannot be served as a GGUF of its class."
        )
