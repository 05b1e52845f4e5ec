"""Frozen weights held in bfloat16 and computed with in float32, for machines that are slow at bfloat16.

Most bases are published in bfloat16, so float32 copies of their weights hold nothing more and take twice the
memory. Here each matrix is widened when it is used and forgotten at once: the results are those of float32,
bit by bit, and of a model of a billion numbers two GiB stay free. Widening is small beside multiplying.
"""

from typing import Any

import torch


class _Widened(torch.autograd.Function):
    """x times a frozen matrix of a narrower type; nothing but the narrow matrix is kept for the way back."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return torch.nn.functional.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *outward: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return outward[0] @ weight.to(outward[0].dtype), None, None


def widen_when_used(model: torch.nn.Module, head: torch.nn.Module | None) -> None:
    """Makes a model of bfloat16 weights compute in float32, before an adapter is put on it.

    `head`, the output matrix, is left as it is: the loss widens it piece by piece.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            if module is not head:
                module.forward = _forward_of(module)
        elif isinstance(module, torch.nn.Embedding):
            module.register_forward_hook(lambda _, __, output: output.float())
        else:
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, torch.nn.Parameter(parameter.float(), requires_grad=False))


def _forward_of(linear: torch.nn.Linear) -> Any:
    def forward(x: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = _Widened.apply(x, linear.weight, linear.bias)
        return product

    return forward
