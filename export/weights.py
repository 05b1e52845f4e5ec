"""A folder's safetensors, tensor by tensor and in blocks of rows, whether in one file or in shards.

numpy has no bfloat16, so such tensors arrive as float32, which holds them exactly. Files are mapped, not read
whole: a model larger than memory can be read, merged and converted.

    for tensor in stored_weights(folder):        nothing is read yet
        for start, rows in tensor.blocks():      a few million values at a time

A file's head is checked against its size before any value is believed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.errors import ModelError
from backtalk.files import read_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
BLOCK = 2**21  # values that are held at once
LONGEST_HEAD = 100_000_000  # bytes; the format's own bound
NUMBERS = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
QUANTIZED = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1,
             "F8_E4M3": 1, "F8_E5M2": 1}  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """One tensor where it lies; `type` in safetensors' words (BF16, F16, F32, F64)."""

    name: str
    file: Path
    type: str
    shape: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        return prod(self.shape) * (WIDTHS | QUANTIZED)[self.type]

    def raw(self) -> np.ndarray:
        """The bytes as they are stored, mapped."""
        if not self.bytes:
            return np.empty(0, np.uint8)
        return np.memmap(self.file, np.uint8, "r", self.offset, (self.bytes,))

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` of the first dimension: bfloat16 widened to float32, all else as stored."""
        width = self.bytes // self.shape[0] if self.shape[0] else 0
        shape = (min(stop, self.shape[0]) - start, *self.shape[1:])
        return self._numbers(self.raw()[start * width : stop * width]).reshape(shape)

    def values(self) -> np.ndarray:
        """The whole tensor, as `rows` gives it."""
        return self._numbers(self.raw()).reshape(self.shape)

    def blocks(self, values: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
        """First row and rows of every block of at most `values` values (at least one row)."""
        if not self.shape:
            yield 0, self.values()
            return
        step = max(1, values // max(1, prod(self.shape[1:])))
        for start in range(0, self.shape[0], step):
            yield start, self.rows(start, start + step)

    def _numbers(self, stored: np.ndarray) -> np.ndarray:
        if self.type == "BF16":  # the upper half of a float32
            return (stored.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        if self.type not in NUMBERS:
            raise ModelError(
                f"{self.file.name} stores {self.name} as {self.type}; floating point was wanted. "
                "Name the folder of the weights before they were quantized."
            )
        return stored.view(NUMBERS[self.type])


def read_weights(model_dir: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of each tensor, in the order of the files and of the names in them."""
    for tensor in stored_weights(model_dir):
        yield tensor.name, tensor.values()


def stored_weights(model_dir: Path) -> Iterator[Stored]:
    """Each tensor of a model folder where it lies, in the order of the files and of the names in them."""
    for path in weight_files(model_dir):
        yield from stored_in(path)


def stored_in(path: Path) -> list[Stored]:
    """The tensors of one safetensors file by name. Raises ModelError when the file is not whole."""
    try:
        return _parsed(path)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as fault:
        raise ModelError(
            f"{path} is not a whole safetensors file ({fault}). Fetch or merge it again."
        ) from fault


def weight_files(model_dir: Path) -> list[Path]:
    """The one file, or the shards that the index names. Raises ModelError when one is missing."""
    if (model_dir / SINGLE).is_file():
        return [model_dir / SINGLE]
    if not (model_dir / INDEX).is_file():
        raise ModelError(f"{model_dir} holds no {SINGLE} and no {INDEX}. Name a folder of merged weights.")
    files = [model_dir / name for name in _shards(model_dir / INDEX)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(f"{model_dir} lacks {', '.join(missing)}, which its index names. Fetch them again.")
    return files


def as_bf16(values: np.ndarray) -> np.ndarray:
    """float32 rounded to the nearest bfloat16, ties to even, as uint16; what is not a number stays one."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    lost = np.isnan(values)
    if lost.any():
        rounded[lost] = (bits[lost] >> 16).astype(np.uint16) | 0x40
    return rounded


def _shards(index: Path) -> list[str]:
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
    except (KeyError, TypeError, AttributeError) as fault:
        raise ModelError(f"{index} holds no map of weights ({fault}). Fetch it again.") from fault
    outside = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if outside or not names:
        raise ModelError(
            f"{index} names {outside or 'no file'}; files beside it were wanted. Fetch it again."
        )
    return names


def _parsed(path: Path) -> list[Stored]:
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = int.from_bytes(file.read(8), "little")
        if size < 8 or head > min(LONGEST_HEAD, size - 8):
            raise ValueError(f"a head of {head} bytes in a file of {size}")
        entries = json.loads(file.read(head).decode())
    entries.pop("__metadata__", None)
    tensors = sorted(
        (_stored(path, name, entry, 8 + head) for name, entry in entries.items()), key=lambda one: one.offset
    )
    end = 8 + head
    for tensor in tensors:  # safetensors leaves no gap and no overlap
        if tensor.offset != end:
            raise ValueError(f"{tensor.name} begins at byte {tensor.offset} and {end} was wanted")
        end += tensor.bytes
    if end != size:
        raise ValueError(f"{size} bytes and {end} were wanted")
    return sorted(tensors, key=lambda one: one.name)


def _stored(path: Path, name: str, entry: Mapping[str, Any], data: int) -> Stored:
    begin, end = entry["data_offsets"]
    tensor = Stored(name, path, entry["dtype"], tuple(entry["shape"]), data + begin)
    if any(type(number) is not int or number < 0 for number in (begin, end, *tensor.shape)):
        raise ValueError(f"{name} has an impossible shape or place")
    if tensor.bytes != end - begin:
        raise ValueError(f"{name} of shape {tensor.shape} has {end - begin} bytes, not {tensor.bytes}")
    return tensor
