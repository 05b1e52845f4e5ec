"""Decode speed of Backtalk's engine beside a bare llama.cpp loop on the same file, answer and thread count.

The bare loop only samples and decodes, with llama.cpp's own functions; the engine also spells, gathers and
hands over text to another thread, as a page needs it. Both draw the same tokens from the same seed, in
turn.
"""

import ctypes
import statistics
import time
from dataclasses import replace
from pathlib import Path

import llama_cpp

from backtalk.engine import Engine, Sampling, load
from backtalk.models import Model

WARM = Sampling(temperature=2.0, top_p=1.0, top_k=0, max_tokens=512)
QUESTION = [{"role": "user", "content": "what can you do?"}]


def decode_ratio(model: Model, rounds: int) -> dict[str, float]:
    """tokens/s of both and the median over `rounds` pairs of engine / bare."""
    engine = load(model)
    tokens = engine.prompt(QUESTION, WARM.max_tokens).tokens
    sampling = _longest_answer(engine)
    bare = BareLoop(model.path, engine.threads)
    pairs = []
    for _ in range(rounds):
        stream = engine.stream(engine.prompt(QUESTION, WARM.max_tokens), sampling)
        for _piece in stream:
            pass
        written, speed = bare.answer(tokens, sampling)
        if written != stream.ending.completion_tokens:
            raise RuntimeError(f"the answers differ: {written} and {stream.ending.completion_tokens} tokens")
        pairs.append((stream.ending.tokens_per_second, speed))
    engine.close()
    return {
        "tokens": written,
        "threads": engine.threads,
        "engine": statistics.median(ours for ours, _ in pairs),
        "bare": statistics.median(theirs for _, theirs in pairs),
        "ratio": statistics.median(ours / theirs for ours, theirs in pairs),
    }


def _longest_answer(engine: Engine) -> Sampling:
    """The seed of the first forty whose answer is longest: a short answer measures the clock."""
    lengths = {}
    for seed in range(40):
        stream = engine.stream(engine.prompt(QUESTION, WARM.max_tokens), replace(WARM, seed=seed))
        for _piece in stream:
            pass
        lengths[seed] = stream.ending.completion_tokens
    return replace(WARM, seed=max(lengths, key=lambda seed: lengths[seed]))


class BareLoop:
    """llama.cpp with nothing around it."""

    def __init__(self, path: Path, threads: int):
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = llama_cpp.llama_model_n_ctx_train(self._model)
        parameters.n_threads = parameters.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)

    def answer(self, prompt: list[int], sampling: Sampling) -> tuple[int, float]:
        """Tokens written and tokens per second after the first."""
        context, vocab = self._context, self._vocab
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        array = (llama_cpp.llama_token * len(prompt))(*prompt)
        llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(prompt)))
        sampler = self._sampler(sampling)
        one = (llama_cpp.llama_token * 1)()
        batch = llama_cpp.llama_batch_get_one(one, 1)
        written, started = 0, time.perf_counter()
        while written < sampling.max_tokens:
            token = llama_cpp.llama_sampler_sample(sampler, context, -1)
            if llama_cpp.llama_vocab_is_eog(vocab, token):
                break
            written += 1
            one[0] = token
            llama_cpp.llama_decode(context, batch)
        seconds = time.perf_counter() - started
        llama_cpp.llama_sampler_free(sampler)
        return written, (written - 1) / seconds

    def _sampler(self, sampling: Sampling) -> ctypes.c_void_p:
        chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        for link in (
            llama_cpp.llama_sampler_init_top_k(sampling.top_k),
            llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1),
            llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1),
            llama_cpp.llama_sampler_init_temp(sampling.temperature),
            llama_cpp.llama_sampler_init_dist(sampling.seed),
        ):
            llama_cpp.llama_sampler_chain_add(chain, link)
        return chain
