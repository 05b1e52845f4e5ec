"""Tensors that are written without being held: read, changed and packed a few million values at a time."""

from collections.abc import Callable, Iterator
from math import prod
from typing import IO, Protocol, TypeAlias

import gguf
import numpy as np

from backtalk.errors import ModelError
from export.architectures.architecture import Tensor
from export.weights import Stored

Kind: TypeAlias = gguf.GGMLQuantizationType

BLOCK = 2**21  # values that are packed at once


class Blocks(Protocol):
    """What gguf's writer asks of a tensor: where numpy's arrays would lie in memory, this writes itself."""

    kind: gguf.GGMLQuantizationType
    shape: tuple[int, ...]
    dtype: np.dtype
    nbytes: int
    values: int

    def tofile(self, file: IO[bytes]) -> None:
        """Writes every byte. Raises ModelError for values that the type cannot hold."""
        ...


class Streamed:
    """A tensor on disk as the GGUF wants it: `shape` in values, rows first, after the change."""

    def __init__(
        self,
        stored: Stored,
        shape: tuple[int, ...],
        wanted: gguf.GGMLQuantizationType,
        change: Callable[[Tensor], Tensor] | None,
    ):
        self._stored, self._change = stored, change
        self.kind = _fitting(shape, wanted)
        self.dtype = np.dtype(_STORED_AS.get(self.kind, np.uint8))
        block, size = gguf.GGML_QUANT_SIZES[self.kind]
        self.shape = shape if self.kind in _STORED_AS else (*shape[:-1], shape[-1] // block * size)
        self.values = prod(shape)
        self.nbytes = self.values // block * size

    def tofile(self, file: IO[bytes]) -> None:
        for rows in self._blocks():
            rows = np.ascontiguousarray(rows)
            with np.errstate(over="ignore"):  # told below
                packed = gguf.quants.quantize(rows, self.kind)
            self._check_finite(rows, packed)
            packed.tofile(file)

    def _blocks(self) -> Iterator[Tensor]:
        if self._change is None:
            yield from (rows for _, rows in self._stored.blocks(BLOCK))
            return
        whole = self._change(self._stored.values())  # a layer's matrix, never the vocabulary's
        step = max(1, BLOCK // max(1, prod(whole.shape[1:])))
        yield from (whole[start : start + step] for start in range(0, len(whole), step))

    def _check_finite(self, rows: Tensor, packed: Tensor) -> None:
        if not np.isfinite(rows).all():
            raise ModelError(
                f"{self._stored.file} holds values in {self._stored.name} that are no numbers: the "
                "training that made them has failed. Go back to an earlier checkpoint."
            )
        if self.kind == Kind.F16 and not np.isfinite(packed).all():
            raise ModelError(
                f"{self._stored.name} holds values beyond 65,504, which F16 cannot hold. Use --type BF16."
            )


class Fixed:
    """A small tensor that was computed."""

    def __init__(self, values: Tensor):
        self._array = values.astype(np.float32)
        self.kind, self.dtype = Kind.F32, self._array.dtype
        self.shape, self.nbytes, self.values = values.shape, self._array.nbytes, values.size

    def tofile(self, file: IO[bytes]) -> None:
        self._array.tofile(file)


_STORED_AS = {Kind.F32: np.float32, Kind.F16: np.float16}


def _fitting(shape: tuple[int, ...], wanted: gguf.GGMLQuantizationType) -> gguf.GGMLQuantizationType:
    """The type that a tensor gets: vectors stay exact, and a row must be whole blocks."""
    if len(shape) < 2:
        return Kind.F32
    return Kind.F16 if shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0] else wanted
