"""How surprised the base model is by the answers of a row: exp of the mean loss of their tokens.

    score = answers_perplexity(model, template)
    score(example)                             above 1; NaN where there is no token to rate

An answer that the base would give anyway teaches little; one that nothing prepares it for is often noise.
"""

import math
from collections.abc import Callable
from typing import Any

from backtalk.prompt import Template
from training.data.example import Example


def answers_perplexity(model: Any, template: Template) -> Callable[[Example], float]:
    """The score under a causal language model of transformers, one row at a time, without gradients."""
    import torch

    @torch.no_grad()
    def score(example: Example) -> float:
        ids, learned = _tokens(example, template)
        if not any(learned[1:]):
            return math.nan
        first = learned.index(True, 1)
        read = torch.tensor([ids], device=model.device)
        # Only the positions that predict something learned need their row of the vocabulary.
        logits = model(input_ids=read, logits_to_keep=len(ids) - first + 1).logits[0, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits, read[0, first:], reduction="none")
        rated = torch.tensor(learned[first:], device=losses.device)
        return math.exp(min(losses[rated].mean().item(), 700.0))

    return score


def _tokens(example: Example, template: Template) -> tuple[list[int], list[bool]]:
    """The ids of the conversation, and which of them belong to an answer that is learned."""
    ids = template.tokens(example.messages, generate=False)
    learned = [False] * len(ids)
    for place, message in enumerate(example.completion):
        if message["role"] == "assistant":
            before = [*example.prompt, *example.completion[:place]]
            start = len(template.tokens(before, generate=True))
            end = len(template.tokens([*before, message], generate=False))
            learned[start:end] = [True] * (end - start)
    return ids, learned
