"""The metadata at the head of a GGUF, read without loading the model: name, licence, base model, round.

    read_header(path)["general.license"]

Texts and numbers are returned; lists (a vocabulary has hundreds of thousands of entries) are stepped over.
"""

import struct
from pathlib import Path
from typing import BinaryIO

from backtalk.errors import ModelError

MAGIC = b"GGUF"
TEXT, LIST = 8, 9
NUMBERS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}

FAULTS = (struct.error, KeyError, UnicodeDecodeError, OverflowError, MemoryError, RecursionError, OSError)

Value = str | int | float | bool


def read_header(path: Path) -> dict[str, Value]:
    """The texts and numbers among a GGUF's metadata. Raises ModelError where the file is none or broken."""
    with open(path, "rb") as file:
        try:
            if file.read(4) != MAGIC:
                raise ModelError(f"{path} is no GGUF file. Name one that `backtalk export` wrote.")
            _version, _tensors, keys = struct.unpack("<IQQ", file.read(20))
            found: dict[str, Value] = {}
            for _ in range(keys):
                key, kind = _text(file), _number(file, "<I")
                if kind == LIST:
                    _pass_list(file)
                else:
                    found[key] = _text(file) if kind == TEXT else _number(file, NUMBERS[int(kind)])
            return found
        except FAULTS as fault:
            raise ModelError(f"The head of {path} is damaged ({fault!r}). Export the model again.") from fault


def _number(file: BinaryIO, form: str) -> int | float | bool:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _text(file: BinaryIO) -> str:
    return file.read(int(_number(file, "<Q"))).decode()


def _pass_list(file: BinaryIO) -> None:
    kind, length = struct.unpack("<IQ", file.read(12))
    if kind == TEXT:
        for _ in range(length):
            file.seek(int(_number(file, "<Q")), 1)
    elif kind == LIST:
        for _ in range(length):
            _pass_list(file)
    else:
        file.seek(length * struct.calcsize(NUMBERS[kind]), 1)
