"""The state of a training and one step of it.

Muon (Keller Jordan, https://kellerjordan.github.io/posts/muon/, as `torch.optim.Muon`) orthogonalises the
updates of the layers' matrices; embeddings and norms take AdamW. The rate rises, stays, and falls linearly
to zero, and does so once more, lower, after a restart; the weights that are released are a moving average
over the steps. Steps are counted in tokens, never in time, so that a build ends at the same step on any
machine.
"""

import copy
import time
import warnings
from typing import Any

import torch
from transformers import LlamaForCausalLM

from training.mini.batches import Batch, attention_mask
from training.mini.muon import Muon
from training.mini.recipe import Recipe

COUNTERS = ("tokens", "steps", "chapter", "place", "seconds")
"""How far a training has come: `place` counts the batches of the present chapter."""


class Trainer:
    """A model in training: its weights, their average, both optimisers, and how far it has come."""

    def __init__(self, model: LlamaForCausalLM, recipe: Recipe, compiled: bool = True):
        self.model = model.train()
        self.model.set_attn_implementation("eager" if has_fast_bfloat16() else "sdpa")  # whichever is faster
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.recipe = recipe
        self.tokens = self.steps = self.chapter = self.place = 0
        self.seconds = 0.0
        matrices, others = _split(model)
        self._optimizers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=recipe.matrix_rate, weight_decay=recipe.weight_decay),
            torch.optim.AdamW(others, lr=recipe.other_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        ]
        self._packed_forward = _compiled(model.model) if compiled else model.model

    @property
    def finished(self) -> bool:
        return self.tokens >= self.recipe.tokens

    @property
    def rate(self) -> float:
        """The present learning rate as a share of its highest."""
        recipe, done = self.recipe, self.tokens / self.recipe.tokens
        if done < recipe.restart or recipe.restart == 1:
            highest, done = 1.0, done / recipe.restart
        else:
            highest, done = recipe.restart_rate, (done - recipe.restart) / (1 - recipe.restart)
        return highest * max(0.0, min(1.0, (done + 1e-3) / recipe.warmup, (1 - done) / recipe.decay))

    def step(self, batch: Batch) -> float:
        """Learns one batch and returns its loss."""
        started = time.monotonic()
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("highest_lr", group["lr"]) * self.rate
        loss = self._loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.tokens += batch.tokens
        self.steps += 1
        self.place += 1
        self._follow()
        self.seconds += time.monotonic() - started
        return float(loss.detach())

    def turn_page(self) -> None:
        """Goes to the next chapter of the corpus."""
        self.chapter, self.place = self.chapter + 1, 0

    def state(self) -> dict[str, Any]:
        """Everything that a killed build needs to go on as if nothing had happened."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            **{name: getattr(self, name) for name in COUNTERS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The opposite of `state`."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for name in COUNTERS:
            setattr(self, name, state[name])

    def _loss(self, batch: Batch) -> torch.Tensor:
        """Cross-entropy over the learned tokens only; logits are made for these alone."""
        wanted = batch.learn[:, 1:]
        forward = self._packed_forward if batch.is_packed else self.model.model
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
            hidden = forward(
                input_ids=batch.ids,
                attention_mask=attention_mask(batch),
                position_ids=batch.position,
                use_cache=False,
            ).last_hidden_state
            logits = self.model.lm_head(hidden[:, :-1][wanted])
        return torch.nn.functional.cross_entropy(logits.float(), batch.ids[:, 1:][wanted])

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the average towards the weights, faster in the first steps."""
        decay = min(self.recipe.average, (1 + self.steps) / (10 + self.steps))
        pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
        for mean, present in pairs:
            mean.lerp_(present, 1 - decay)


def has_fast_bfloat16() -> bool:
    """Without AVX-512, matrices in bfloat16 are a hundred times slower than in float32."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def _split(model: LlamaForCausalLM) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """The layers' matrices, and everything else."""
    matrices = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    taken = {id(weight) for weight in matrices}
    return matrices, [weight for weight in model.parameters() if id(weight) not in taken]


def _compiled(module: torch.nn.Module) -> Any:
    """The module compiled for the one shape of packed rows: two thirds faster, for 45 s at the start."""
    warnings.filterwarnings("ignore", module=r"torch\._inductor.*")
    return torch.compile(module, dynamic=False)
