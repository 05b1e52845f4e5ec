"""What a layer computes cheaply from what it keeps anyway is computed anew on the way back, not kept.

Of each token Llama's feed-forward keeps four vectors of the inner size: gate, up, silu(gate), their product.
The first two give the others. And a norm's output, which an adapter keeps as its input, follows from the
norm's input. The same operations on the same numbers give the same result: no gradient changes by a bit.

Matrices are not multiplied twice: this is for machines where memory is short and a step slow. Where layers
are computed twice anyway (gradient checkpointing) and in models not built like Llama, nothing changes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.llama.modeling_llama import LlamaMLP

Way = Callable[[], torch.Tensor]
SAME = ("co_code", "co_names", "co_consts")  # of two functions that do the same


def compute_anew(model: torch.nn.Module) -> int:
    """Makes the layers of a frozen model keep less, before an adapter is put on it; how many do now."""
    found = 0
    for layer in model.modules():
        inner = [child for child in layer.children() if _is_llamas(child)]
        if isinstance(layer, GradientCheckpointingLayer) and inner:
            for child in layer.children():
                if "Norm" in type(child).__name__:
                    child.register_forward_hook(_note_norm)
            for child in inner:
                child.forward = _feed_forward_of(child)
            layer.forward = _frugal(layer)
            found += 1
    return found


@dataclass(frozen=True)
class _Anew:
    """In place of a tensor: how it is computed, and how what was kept lay in it."""

    way: Way
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def compute(self) -> torch.Tensor:
        with torch.no_grad():
            return self.way().as_strided(self.shape, self.stride, self.offset)


class _Known:
    """The tensors of one pass through a layer that can be computed anew."""

    def __init__(self) -> None:
        self._ways: list[tuple[int, ref[torch.Tensor], Way]] = []

    def note(self, tensor: torch.Tensor, way: Way) -> None:
        """`way` may hold nothing that autograd does not keep: it watches that nobody changes those."""
        self._ways.append((_place(tensor), ref(tensor), way))

    def pack(self, tensor: torch.Tensor) -> torch.Tensor | _Anew:
        place = _place(tensor)
        for known, alive, way in self._ways:
            if known == place and alive() is not None:  # else another tensor may lie there by now
                return _Anew(way, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))
        return tensor


_known: ContextVar[_Known | None] = ContextVar("known", default=None)


@contextmanager
def _knowing() -> Iterator[None]:
    known = _Known()
    before = _known.set(known)
    try:
        with torch.autograd.graph.saved_tensors_hooks(known.pack, _unpack):
            yield
    finally:
        _known.reset(before)


def _frugal(layer: Any) -> Any:
    plain = layer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if layer.gradient_checkpointing or not torch.is_grad_enabled():
            return plain(*args, **kwargs)
        with _knowing():
            return plain(*args, **kwargs)

    return forward


def _note_norm(norm: Any, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    x = given[0].detach()
    _noted(output, lambda: norm.forward(x))


def _noted(tensor: torch.Tensor, way: Way) -> torch.Tensor:
    """To be said before anything is computed from the tensor: what keeps it asks at once."""
    known = _known.get()
    if known is not None:
        known.note(tensor, way)
    return tensor


def _feed_forward_of(mlp: Any) -> Any:
    def forward(x: torch.Tensor) -> torch.Tensor:
        gate, up = mlp.gate_proj(x), mlp.up_proj(x)
        kept_gate, kept_up = gate.detach(), up.detach()
        active = _noted(mlp.act_fn(gate), lambda: mlp.act_fn(kept_gate))
        product = _noted(active * up, lambda: mlp.act_fn(kept_gate) * kept_up)
        del gate, up, active
        result: torch.Tensor = mlp.down_proj(product)
        return result

    return forward


def _is_llamas(module: torch.nn.Module) -> bool:
    """Whether this is a feed-forward that computes by the very code of Llama's, as Mistral's does."""
    code, wanted = getattr(type(module).forward, "__code__", None), LlamaMLP.forward.__code__
    return all(getattr(code, name, 0) == getattr(wanted, name) for name in SAME)


def _place(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())


def _unpack(kept: torch.Tensor | _Anew) -> torch.Tensor:
    return kept.compute() if isinstance(kept, _Anew) else kept
