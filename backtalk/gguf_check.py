"""Is this file a whole GGUF? Asked before llama.cpp reads it, which ends the process over some broken ones.

    check(path)     returns, or raises ModelError with one sentence
    head(path)      its texts and numbers: name, licence, base model, round; of a list its type and length

The head is read entry by entry: types, lengths, names; then what llama.cpp takes for granted (no dimension
is zero, every list of the vocabulary has one entry per token, numbers are finite), and
where each tensor lies. Nothing is believed that reaches beyond the end of the file. Weights are not read: a
wrong value in them makes wrong answers and no crash, and the file's sha256 is there to tell.
"""

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from backtalk.errors import ModelError

VERSIONS = (2, 3)
LONGEST_NAME = 63  # of a tensor
SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))  # struct's letters
STRING, ARRAY = 8, 9
TOKENS = "tokenizer.ggml.tokens"
INT32, FLOAT32 = 5, 6

# ggml's tensor types: number -> (values in a block, bytes of a block)
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip


@dataclass(frozen=True)
class List:
    """An array of the head: the type of its entries and how many there are."""

    type: int
    length: int


class Broken(ValueError):
    """What is wrong, in words that follow "the file is broken:"."""


Value = str | int | float | bool | List


def check(path: Path) -> None:
    """Raises ModelError unless `path` is a whole GGUF that llama.cpp can be given."""
    with _mapped(path) as data:
        reader = _Reader(data)
        tensors, values = _read_head(reader)
        _check_values(values)
        _check_tensors(reader, tensors, _alignment(values), len(data))


def head(path: Path) -> dict[str, Value]:
    """What stands at the head, the model not being loaded. Raises ModelError where it is broken."""
    with _mapped(path) as data:
        return _read_head(_Reader(data))[1]


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """The file's bytes; what is found to be wrong with them becomes one sentence."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (Broken, struct.error, UnicodeDecodeError, OverflowError) as fault:
        raise ModelError(
            f"{path} is not a whole GGUF ({fault}). Fetch or export it again, or give another "
            "file with --model."
        ) from fault
    except (OSError, ValueError) as fault:  # an empty file cannot be mapped
        raise ModelError(f"{path} cannot be read ({fault}). Check the path and its permissions.") from fault


class _Reader:
    """Takes one thing after the other and never reads beyond the end."""

    def __init__(self, data: mmap.mmap):
        self._data, self.at = data, 0

    def take(self, length: int) -> bytes:
        if length > len(self._data) - self.at:
            raise Broken(f"it ends within its head, at byte {len(self._data)}")
        self.at += length
        return self._data[self.at - length : self.at]

    def number(self, format: str) -> Any:
        return struct.unpack(format, self.take(struct.calcsize(format)))[0]

    def count(self, format: str) -> int:
        """A number of things that follow, each of at least one byte."""
        number = self.number(format)
        if number > len(self._data) - self.at:
            raise Broken(f"{number} entries are announced in {len(self._data)} bytes")
        return number

    def text(self) -> str:
        return self.take(self.count("<Q")).decode()

    def texts(self, number: int) -> Iterator[bytes]:
        """Many texts, as they lie there: a vocabulary has hundreds of thousands."""
        data, at, end = self._data, self.at, len(self._data)
        length_at = struct.Struct("<Q").unpack_from
        for _ in range(number):
            begin = at + 8
            at = begin + length_at(data, at)[0] if begin <= end else end + 1
            if at > end:
                raise Broken(f"it ends within a list of texts, at byte {end}")
            yield data[begin:at]
        self.at = at


# ---- the head's entries


def _read_head(reader: _Reader) -> tuple[int, dict[str, Value]]:
    """The number of tensors, and every entry by its key."""
    if (magic := reader.take(4)) != b"GGUF":
        raise Broken(f"it begins with {magic!r}, and a GGUF model was wanted")
    version = reader.number("<I")
    if version not in VERSIONS:
        raise Broken(f"version {version}, and {' or '.join(map(str, VERSIONS))} was wanted")
    tensors, entries = reader.count("<Q"), reader.count("<Q")
    return tensors, _read_values(reader, entries)


def _read_values(reader: _Reader, entries: int) -> dict[str, Value]:
    """Every entry of the head by its key; of an array only its type and length."""
    values: dict[str, Value] = {}
    for _ in range(entries):
        key = reader.text()
        if key in values or not key:
            raise Broken(f"the entry {key!r} stands there twice" if key else "an entry has no name")
        values[key] = _read_value(reader, key, reader.number("<I"))
    return values


def _read_value(reader: _Reader, key: str, type: int) -> Value:
    if type == STRING:
        return reader.text()
    if type == ARRAY:
        return _read_list(reader, key)
    if type not in SCALARS:
        raise Broken(f"{key} is of an unknown type {type}")
    value = reader.number(f"<{SCALARS[type]}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Broken(f"{key} is {value}")
    return value


def _read_list(reader: _Reader, key: str) -> List:
    type, length = reader.number("<I"), reader.count("<Q")
    if type == STRING:
        found = set(reader.texts(length))
        if key == TOKENS and len(found) < length:
            raise Broken(f"{length - len(found)} of {length} tokens stand there twice")
    elif type in SCALARS:
        reader.take(length * struct.calcsize(f"<{SCALARS[type]}"))
    else:
        raise Broken(f"{key} is a list of an unknown type {type}")
    return List(type, length)


# ---- what llama.cpp takes for granted


def _alignment(values: Mapping[str, Any]) -> int:
    alignment = values.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise Broken(f"general.alignment is {alignment}, and a power of two was wanted")
    return alignment


def _check_values(values: Mapping[str, Any]) -> None:
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise Broken(f"general.architecture is {architecture!r}, and a name was wanted")
    for key, value in values.items():
        if key.startswith(f"{architecture}."):
            _check_setting(key.removeprefix(f"{architecture}."), value)
    _check_vocabulary(values)


# Settings that are never zero, and the highest believed: llama.cpp multiplies in 32 bits.
HIGHEST = {
    "block_count": 512,  # llama.cpp's own bound
    "context_length": 2**31 - 1, "vocab_size": 2**31 - 1,
    "embedding_length": 2**20, "feed_forward_length": 2**24,
    "attention.head_count": 2**15, "attention.head_count_kv": 2**15,
    "attention.key_length": 2**15, "attention.value_length": 2**15, "rope.dimension_count": 2**15,
    "rope.freq_base": math.inf, "rope.scaling.factor": math.inf,
}  # fmt: skip


SCALINGS = {"none", "linear", "yarn", "longrope"}


def _check_setting(name: str, value: Any) -> None:
    if name == "rope.scaling.type" and value not in SCALINGS:
        raise Broken(f"{name} is {value!r}, and one of {', '.join(sorted(SCALINGS))} was wanted")
    if not isinstance(value, int | float):
        return  # a text, or a list of one number for each layer
    if value < 0 or (name in HIGHEST and not 0 < value <= HIGHEST[name]):
        raise Broken(f"{name} is {value}")


def _check_vocabulary(values: Mapping[str, Any]) -> None:
    """One score and one type for each token."""
    tokens = values.get(TOKENS)
    if tokens is None:
        return
    if not isinstance(tokens, List) or tokens.type != STRING or not tokens.length:
        raise Broken(f"{TOKENS} is not a list of texts")
    for name, kind in (("scores", FLOAT32), ("token_type", INT32)):
        found = values.get(f"tokenizer.ggml.{name}")
        if found is not None and found != List(kind, tokens.length):
            raise Broken(f"tokenizer.ggml.{name} has not one number for each of {tokens.length} tokens")
    merges = values.get("tokenizer.ggml.merges")
    if merges is not None and (not isinstance(merges, List) or merges.type != STRING):
        raise Broken("tokenizer.ggml.merges is not a list of texts")


# ---- tensors


def _check_tensors(reader: _Reader, number: int, alignment: int, size: int) -> None:
    """Each tensor of a known type, one after the other without overlap, the last within the file."""
    names: set[str] = set()
    end = 0
    for _ in range(number):
        name = reader.text()
        if name in names or not 0 < len(name.encode()) <= LONGEST_NAME:
            raise Broken(f"a tensor is named {name[:80]!r}, twice or beyond {LONGEST_NAME} bytes")
        names.add(name)
        bytes_, offset = _read_tensor(reader, name)
        if offset != end:
            raise Broken(f"the tensor {name} begins at {offset}, and {end} was wanted")
        end += -(-bytes_ // alignment) * alignment
        last = offset + bytes_
    if not names:
        raise Broken("it holds no tensors")
    start = -(-reader.at // alignment) * alignment
    if start + last > size:
        raise Broken(f"it has {size} bytes, and its tensors need {start + last}")


def _read_tensor(reader: _Reader, name: str) -> tuple[int, int]:
    """Bytes and place of a tensor."""
    dimensions = reader.number("<I")
    if not 1 <= dimensions <= 4:
        raise Broken(f"the tensor {name} has {dimensions} dimensions")
    shape = [reader.number("<Q") for _ in range(dimensions)]
    type, offset = reader.number("<I"), reader.number("<Q")
    if type not in BLOCKS:
        raise Broken(f"the tensor {name} is of an unknown type {type}")
    block, size = BLOCKS[type]
    if not all(shape) or shape[0] % block:
        raise Broken(f"the tensor {name} has the impossible shape {shape}")
    return prod(shape) // block * size, offset
