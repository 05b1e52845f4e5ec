"""llama.cpp with nothing around it: one sequence, its own settings. The engine is measured by it."""

import ctypes
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import llama_cpp

from backtalk.engine import Engine, Limits, Sampling, load
from backtalk.models import Model
from backtalk.prompt import Prompt
from bench.peers import Setting
from bench.report import Bound, bound

PROMPT, ANSWER = 512, 64  # tokens, as llama-bench's pp512 and tg64
BATCH = 512


class Bare:
    """A context of its own on the file. Closed by `close`.

    llama.cpp's own settings; `as_engine` without flash attention.
    """

    def __init__(self, path: Path, context: int, threads: int, as_engine: bool = False):
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = context, BATCH, BATCH
        parameters.n_threads = parameters.n_threads_batch = threads
        if as_engine:
            parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        self.vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self.tokens = llama_cpp.llama_vocab_n_tokens(self.vocabulary)

    def read(self, prompt: Sequence[int]) -> float:
        """Reads a prompt into the empty context: seconds."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        began = time.perf_counter()
        for start in range(0, len(prompt), BATCH):
            part = prompt[start : start + BATCH]
            array = (llama_cpp.llama_token * len(part))(*part)
            llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(array, len(part)))
        llama_cpp.llama_synchronize(self._context)
        return time.perf_counter() - began

    def write(self, tokens: Sequence[int]) -> float:
        """Computes given tokens one by one, as llama-bench does, which draws none: seconds."""
        one = (llama_cpp.llama_token * 1)()
        batch = llama_cpp.llama_batch_get_one(one, 1)
        began = time.perf_counter()
        for token in tokens:
            one[0] = token
            llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_synchronize(self._context)
        return time.perf_counter() - began

    def greedy(self, prompt: Sequence[int], most: int) -> Iterator[tuple[int, float]]:
        """The likeliest token each time, and by how much its logit leads the second's."""
        self.read(prompt)
        one = (llama_cpp.llama_token * 1)()
        batch = llama_cpp.llama_batch_get_one(one, 1)
        for _ in range(most):
            token, lead = self._best()
            if llama_cpp.llama_vocab_is_eog(self.vocabulary, token):
                return
            yield token, lead
            one[0] = token
            llama_cpp.llama_decode(self._context, batch)

    def close(self) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def _best(self) -> tuple[int, float]:
        import numpy as np

        found = llama_cpp.llama_get_logits_ith(self._context, -1)
        logits = np.ctypeslib.as_array(ctypes.cast(found, ctypes.POINTER(ctypes.c_float)), (self.tokens,))
        best = int(logits.argmax())
        second = np.partition(logits, -2)[-2]
        return best, float(logits[best] - second)


def alone(setting: Setting, rounds: int) -> list[Bound]:
    """One visitor beside the bare loop, in turn: speed of reading and of writing, as medians of ratios."""
    model = Model(setting.file.stem, setting.file, "")
    chance, pairs = random.Random(1), []
    with (
        closing(load(model, setting.context, setting.threads, Limits(live=setting.live))) as engine,
        closing(Bare(setting.file, setting.context, setting.threads)) as bare,
    ):
        for _ in range(rounds):
            prompt = [chance.randrange(300, bare.tokens - 300) for _ in range(PROMPT)]
            pairs.append((_ours(engine, prompt), _theirs(bare, prompt)))
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    for name, place in (("reading", 0), ("writing", 1)):
        both = (statistics.median(speeds[place] for speeds in side) for side in (ours, theirs))
        print(f"one visitor, {name}: {next(both):.1f} tokens/s, bare loop {next(both):.1f}")
    return [
        bound(
            f"one visitor: {name} / bare loop",
            statistics.median(mine[place] / bare[place] for mine, bare in pairs),
            at_least=0.97,
        )
        for name, place in (("reading", 0), ("writing", 1))
    ]


def _ours(engine: Engine, prompt: list[int]) -> tuple[float, float]:
    stream = engine.stream(Prompt(prompt, []), Sampling(temperature=0, max_tokens=ANSWER))
    for _ in stream:
        pass
    ending = stream.ending
    return (len(prompt) - ending.cached_tokens) / ending.first_token_ms * 1000, ending.tokens_per_second


def _theirs(bare: Bare, prompt: list[int]) -> tuple[float, float]:
    reading = len(prompt) / bare.read(prompt)
    return reading, (ANSWER - 1) / bare.write(prompt[: ANSWER - 1])
