"""The loss over the learned tokens alone, without ever holding the logits of a whole batch.

Two facts make this cheap: most tokens of a conversation are its prompt, which is not learned, and the output
matrix is frozen, so the gradient of the hidden states is all that is wanted. It is computed together with the
loss, some hundred tokens at a time, and waits there for the backward pass.
"""

from typing import Any

import torch

from training.render import IGNORED

LOGITS_AT_ONCE = 2**25  # numbers: 128 MiB in float32
WIDENED_AT_ONCE = 2**22  # numbers of the matrix, where it is held in a narrower type: 16 MiB in float32
SCORED_AT_ONCE = 16  # tokens whose logits become logarithms of probabilities, in the place of the logits
UNUSUAL = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier",
           "logits_scaling")  # fmt: skip


def can_learn_by_places(model: Any) -> bool:
    """True where the logits are the output matrix times the hidden states, and that matrix is frozen."""
    config = model.config.get_text_config()
    head = model.get_output_embeddings()
    return (
        isinstance(head, torch.nn.Linear)
        and head.bias is None
        and not head.weight.requires_grad
        and all(getattr(config, name, None) is None for name in UNUSUAL)
        and not getattr(config, "output_router_logits", False)
    )


def summed_loss(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy summed over the places whose next token is learned.

    `hidden`: (rows, width, channels), `weight`: (vocabulary, channels), `labels`: (rows, width).
    """
    wanted = labels[:, 1:] != IGNORED
    return token_losses(hidden[:, :-1][wanted], weight, labels[:, 1:][wanted]).sum()


def token_losses(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each token. `hidden`: (tokens, channels), `labels`: (tokens,); float32."""
    losses: torch.Tensor = _TokenLosses.apply(hidden, weight, labels)
    return losses


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        size = max(1, LOGITS_AT_ONCE // weight.shape[0])
        taught = ctx.needs_input_grad[0]
        losses = hidden.new_zeros(len(labels), dtype=torch.float32)
        gradient = torch.empty_like(hidden) if taught else hidden.new_empty(0)
        for start in range(0, len(labels), size):
            piece = slice(start, start + size)
            losses[piece], slope = _piece(hidden[piece], weight, labels[piece], taught)
            if taught:
                gradient[piece] = slope
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *outward: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outward[0][:, None].to(gradient.dtype), None, None


def _piece(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, taught: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The losses of some tokens, and the gradient of each by its state: (softmax - one-hot) times the matrix.

    Without `taught` there is no gradient.
    """
    slabs = _slabs(weight, hidden.dtype)
    scores = _scores(hidden, slabs)
    places = labels[:, None]
    losses = -scores.gather(1, places)[:, 0]
    if not taught:
        return losses, losses
    slope = scores.exp_()
    slope.scatter_add_(1, places, slope.new_full((len(labels), 1), -1.0))
    gradient, start = torch.zeros_like(hidden), 0
    for slab in slabs:
        part = slope[:, start : start + len(slab)].to(hidden.dtype)
        gradient += part @ slab.to(hidden.dtype)
        start += len(slab)
    return losses, gradient


def _scores(hidden: torch.Tensor, slabs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The logarithm of each next token's probability, (tokens, vocabulary) in float32; held once."""
    scores = hidden.new_empty((len(hidden), sum(map(len, slabs))), dtype=torch.float32)
    start = 0
    for slab in slabs:
        scores[:, start : start + len(slab)] = hidden @ slab.to(hidden.dtype).T
        start += len(slab)
    for some in scores.split(SCORED_AT_ONCE):
        some.copy_(torch.log_softmax(some, dim=-1))
    return scores


def _slabs(weight: torch.Tensor, wanted: torch.dtype) -> tuple[torch.Tensor, ...]:
    """The matrix whole, or in slabs where it is of another type and has to be converted to be used."""
    return (weight,) if weight.dtype == wanted else weight.split(max(1, WIDENED_AT_ONCE // weight.shape[1]))
