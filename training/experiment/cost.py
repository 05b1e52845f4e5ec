"""What an experiment will take, said before it starts: configurations, steps, minutes, memory.

Minutes are reckoned from the arithmetic of a step and from how fast this machine multiplies matrices now; a
guess within a factor of two, told as one.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from training.activations import bytes_of_step
from training.backends.with_peft import lora_config
from training.experiment.crew import all_small, at_once
from training.experiment.prepare import Prepared
from training.experiment.recipe import Search
from training.machine import device, free_memory, gigabytes, limit_threads

FORWARD, TAUGHT = 2, 5  # operations for each weight and token: reading, and reading with the way back
SIDE, TRIALS = 1024, 3  # of the matrices that are multiplied
SHARE_REACHED = 0.35  # of that speed: small matrices, attention, norms and the optimiser are slower
STATES = 4  # of an adapter's value: itself, its gradient and two means, in float32


def told(prepared: Sequence[Prepared], compared: int, search: Search) -> Iterator[str]:
    """The plan in lines. `compared`: tokens of the development rows."""
    steps = sum(one.ready.steps for one in prepared)
    bases = {one.ready.base.folder: one.ready.base for one in prepared}
    how = f"after {search.chunk}, and then after twice as many" if search.growing else f"every {search.chunk}"
    yield (
        f"{len(prepared)} configurations on {len(bases)} base{'s' if len(bases) > 1 else ''}, {steps:,} "
        f"steps in all, compared {how}"
    )
    held = sum(base.values * 4 for base in bases.values())
    adapters = sum(_adapter_values(one) for one in prepared) * STATES * 4
    of_step = max(_bytes_of_step(one) for one in prepared)
    whole = held + adapters + of_step
    yield (
        f"about {_size(whole)} of memory: {_size(held)} for the bases, once; {_size(adapters)} "
        f"for all adapters and optimisers; {_size(of_step)} for a step. "
        f"{_size(free_memory(device()))} are free"
    )
    limit_threads(all_small(prepared))
    together = at_once(prepared, search)
    speed = _speed() * SHARE_REACHED * together
    seconds = sum(_operations(one, compared, search) for one in prepared) / speed
    side = f", {together} configurations at a time" if together > 1 else ""
    yield f"about {_minutes(seconds)} on this machine as it is now{side} (within a factor of two)"


def _operations(one: Prepared, compared: int, search: Search) -> float:
    """Of all steps and comparisons of a configuration."""
    values, taken = one.ready.base.values, 0.0
    for stage in one.ready.stages:
        if stage.steps:
            taken += stage.steps * stage.recipe.batch.accumulation * stage.tokens_at_once * TAUGHT
    comparisons = 1 + sum(map(search.ends_chunk, range(1, one.ready.steps)))
    return values * (taken + comparisons * compared * FORWARD)


def _speed() -> float:
    """Multiplications and additions a second."""
    kind = device()
    left, right = torch.ones(SIDE, SIDE, device=kind), torch.ones(SIDE, SIDE, device=kind)
    left @ right
    best = float("inf")
    for _ in range(TRIALS):
        began = time.perf_counter()
        float((left @ right)[0, 0])  # on an accelerator, the result has to be waited for
        best = min(best, time.perf_counter() - began)
    return 2 * SIDE**3 / best


_counted: dict[Any, int] = {}


def _adapter_values(one: Prepared) -> int:
    """Numbers in a configuration's adapter, counted on a model without weights."""
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    key = (one.ready.base.folder, one.recipe.lora)
    if key not in _counted:
        config = AutoConfig.from_pretrained(one.ready.base.folder, local_files_only=True)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
            model = get_peft_model(model, lora_config(one.recipe.lora, model, False))
        _counted[key] = sum(value.numel() for value in model.parameters() if value.requires_grad)
    return _counted[key]


def _bytes_of_step(one: Prepared) -> int:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(one.ready.base.folder, local_files_only=True)
    width = max(stage.width for stage in one.ready.stages if stage.steps)
    return bytes_of_step(config, one.recipe.batch.size * width, width)


def _size(count: int) -> str:
    """In GiB, or in MiB where that would be none."""
    return gigabytes(count) if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:,.0f} minutes"
