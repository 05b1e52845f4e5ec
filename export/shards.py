"""Writing safetensors without holding them: the head is known beforehand, the values follow block by block.

The bytes depend on names, types and values alone: tensors by name, no time, no library's version.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from backtalk.errors import ModelError
from export.unfinished import unfinished
from export.weights import WIDTHS, as_bf16

ALIGNMENT = 8  # the head is filled up with spaces, so that the values begin at a multiple of it


@dataclass(frozen=True)
class Planned:
    """A tensor to be written; `blocks` gives its values in order, as bytes (uint8) or as numbers."""

    name: str
    type: str
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[np.ndarray]]

    @property
    def bytes(self) -> int:
        return prod(self.shape) * WIDTHS[self.type]


def write_shard(
    path: Path, tensors: Sequence[Planned], report: Callable[[int], None] = lambda _: None
) -> None:
    """Writes one file, whole or not at all; `report` hears how many bytes each block added."""
    tensors = sorted(tensors, key=lambda one: one.name)
    with unfinished(path) as part, open(part, "wb") as file:
        file.write(_head(tensors))
        for tensor in tensors:
            begin = file.tell()
            for block in tensor.blocks():
                stored = _stored(tensor, block)
                file.write(stored.data)
                report(stored.nbytes)
            if file.tell() - begin != tensor.bytes:
                raise AssertionError(f"{tensor.name} came in another size than was planned")


def _head(tensors: Sequence[Planned]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.bytes
        entries[tensor.name] = {"dtype": tensor.type, "shape": tensor.shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _stored(tensor: Planned, block: np.ndarray) -> np.ndarray:
    """The block as it is written; numbers are rounded once."""
    if block.dtype == np.uint8:
        return np.ascontiguousarray(block)
    if not np.isfinite(block).all():
        raise ModelError(
            f"{tensor.name} would hold values that are no numbers: the base or the adapter is broken. "
            "Train again, or take an earlier checkpoint of the run."
        )
    if tensor.type == "BF16":
        return as_bf16(block)
    with np.errstate(over="ignore"):  # told in the next lines
        stored = np.ascontiguousarray(
            block, {"F64": np.float64, "F32": np.float32, "F16": np.float16}[tensor.type]
        )
    if tensor.type == "F16" and not np.isfinite(stored).all():
        raise ModelError(f"{tensor.name} has values beyond what F16 holds. Write the model as BF16 or F32.")
    return stored
