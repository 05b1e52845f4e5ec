"""Muon for matrices, in float32 and a batch for each shape.

Muon (Keller Jordan, https://kellerjordan.github.io/posts/muon/) replaces the momentum of a matrix by the
nearest orthogonal matrix, found by five Newton-Schulz steps. `torch.optim.Muon` takes these in bfloat16 and
matrix by matrix: on a CPU without bfloat16 instructions that is a hundred times slower than the training
around it, and the reason for this file.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that pulls singular values towards 1


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, and scaled so that tall matrices move like square ones."""

    def __init__(self, matrices: Iterable[torch.nn.Parameter], lr: float, weight_decay: float):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Moves every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape[tuple(weight.shape)].append(weight)
            for (rows, columns), weights in by_shape.items():
                moves = orthogonal(torch.stack([self._momentum(weight, group) for weight in weights]))
                rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                for weight, move in zip(weights, moves, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(move, alpha=-rate)

    def _momentum(self, weight: torch.nn.Parameter, group: dict[str, Any]) -> torch.Tensor:
        """The gradient as Nesterov's rule sees it."""
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        buffer = state.setdefault("momentum_buffer", torch.zeros_like(weight))
        buffer.lerp_(gradient, 1 - group["momentum"])
        return gradient.lerp(buffer, group["momentum"])


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """(n, rows, columns) -> the same shape, with all singular values near 1."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
