"""One weight and what an adapter teaches it: rows of the base in, rows of the merged model out.

Products are computed in float64 and the sum is rounded once to float32, so that neither the size of a block
nor the order in which a library adds up shows in the result. Only a block of a weight is ever held.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from backtalk.errors import ModelError
from export.lora import Lora, Pair
from export.weights import BLOCK, Stored, as_bf16

Blocks = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Taught:
    """A base's weight that a pair is added to; `across` where the weight keeps inputs as rows."""

    weight: Stored
    pair: Pair
    across: bool

    def blocks(self) -> Iterator[np.ndarray]:
        """The merged weight in blocks of rows, float32."""
        left, right = self._factors()
        lengths = self._lengths(left, right) if self.pair.magnitude and self.across else None
        magnitude = self.pair.magnitude.values().astype(np.float64).ravel() if self.pair.magnitude else None
        for start, rows in self.weight.blocks(BLOCK):
            stop = start + len(rows)
            merged = left[start:stop] @ right
            merged += rows
            if magnitude is not None and lengths is not None:
                merged *= magnitude / lengths
            elif magnitude is not None:
                merged *= (magnitude[start:stop] / np.linalg.norm(merged, axis=1))[:, None]
            yield merged.astype(np.float32)

    def _factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Two thin matrices whose product is what is added, rows as the weight has them."""
        a, b = (one.values().astype(np.float64) for one in (self.pair.a, self.pair.b))
        b *= self.pair.scale
        return (a.T, b.T) if self.across else (b, a)

    def _lengths(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The length of each column, in a pass of its own: DoRA measures outputs, which here are columns."""
        squares = np.zeros(self.weight.shape[1])
        for start, rows in self.weight.blocks(BLOCK):
            merged = left[start : start + len(rows)] @ right
            merged += rows
            squares += np.square(merged, out=merged).sum(axis=0)
        return np.sqrt(squares)


def taught_blocks(lora: Lora, module: str, weight: Stored, across: bool) -> Blocks | None:
    """The blocks of `module`'s weight as the adapter leaves it; None where it teaches nothing there.

    Raises ModelError where the adapter's shapes are those of another base.
    """
    whole = lora.whole.get(f"{module}.weight")
    tokens, pair = lora.tokens.get(module), lora.pairs.get(module)
    if sum(part is not None for part in (whole, tokens, pair)) > 1:
        raise ModelError(f"The adapter teaches {module} in two ways at once. Merge it with PEFT.")
    if whole is not None:
        _check_shape(whole, whole.shape, weight)
        return partial(as_stored, whole)
    if tokens is not None:
        _check_ids(*tokens, weight)
        return partial(_with_rows, weight, *tokens)
    if pair is not None:
        across = across or pair.on_embedding
        shape = (pair.a.shape[1], pair.b.shape[0]) if across else (pair.b.shape[0], pair.a.shape[1])
        _check_shape(pair.b, shape, weight)
        return Taught(weight, pair, across).blocks
    return None


def taught_bias(lora: Lora, module: str, bias: Stored) -> Blocks | None:
    """The bias of `module` as the adapter leaves it; None where it teaches nothing there."""
    whole, pair = lora.whole.get(f"{module}.bias"), lora.pairs.get(module)
    if whole is not None:
        _check_shape(whole, whole.shape, bias)
        return partial(as_stored, whole)
    if pair is not None and pair.bias is not None:
        _check_shape(pair.bias, pair.bias.shape, bias)
        return partial(_sum, bias, pair.bias, pair.scale)
    return None


def as_stored(weight: Stored) -> Iterator[np.ndarray]:
    """The values of a tensor as they are."""
    return (rows for _, rows in weight.blocks())


def _sum(bias: Stored, taught: Stored, scale: float) -> Iterator[np.ndarray]:
    yield (bias.values() + taught.values().astype(np.float64) * scale).astype(np.float32)


def _with_rows(weight: Stored, ids: tuple[int, ...], rows: Stored) -> Iterator[np.ndarray]:
    """The weight with trained rows in the places of `ids`."""
    trained = dict(zip(ids, rows.values(), strict=True))
    for start, block in weight.blocks():
        here = [place for place in ids if start <= place < start + len(block)]
        if here:
            block = np.array(block, np.float32 if block.dtype == np.float16 else block.dtype)
            for place in here:
                block[place - start] = trained[place]
        yield block


def check_frozen(lora: Lora, weight: Stored, name: str) -> None:
    """What PEFT repeats of the base beside trained embeddings is the base's own, in the type of the training.

    Raises ModelError where it is not: then the vocabulary was resized, or the base is another.
    """
    frozen = lora.frozen.get(name)
    if frozen is None:
        return
    _check_shape(frozen, frozen.shape, weight)
    for start, rows in weight.blocks():
        kept = frozen.rows(start, start + len(rows))
        seen = as_bf16(kept) == as_bf16(rows) if frozen.type == "BF16" else kept == rows.astype(kept.dtype)
        if not seen.all():
            raise ModelError(
                f"The adapter in {lora.folder} repeats {name} of its base with other values than the base in "
                f"{weight.file.parent}. Merge it with the base that it was trained on."
            )


def _check_ids(ids: tuple[int, ...], rows: Stored, weight: Stored) -> None:
    _check_shape(rows, (weight.shape[0], *rows.shape[1:]), weight)
    if not all(0 <= place < weight.shape[0] for place in ids):
        raise ModelError(
            f"The adapter trains row {max(ids)} of {weight.name}, which has {weight.shape[0]} rows. "
            "Merge it with the base that it was trained on."
        )


def _check_shape(taught: Stored, shape: tuple[int, ...], weight: Stored) -> None:
    if shape != weight.shape:
        raise ModelError(
            f"The adapter teaches {weight.name} in the shape {shape} by its {taught.name}, and the base in "
            f"{weight.file.parent} has {weight.shape}. Merge it with the base that it was trained on."
        )
