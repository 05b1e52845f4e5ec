"""How the next token is drawn: a chain of llama.cpp's own links, so that no number passes through Python."""

from __future__ import annotations  # llama_cpp names its handles for type checkers only

import llama_cpp

from backtalk.engine import Sampling

PENALTY_WINDOW = 64  # tokens that the repetition penalty looks back on


def new_sampler(sampling: Sampling, tokens: int) -> llama_cpp.llama_sampler_p:
    """In llama.cpp's usual order: penalty, top-k, top-p, min-p, temperature, the draw.

    Each answer has its own, so that its draws depend on its seed alone. `tokens` is the vocabulary's size.
    Free it with llama_sampler_free.
    """
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    links = []
    if sampling.repeat_penalty != 1.0:
        links.append(
            llama_cpp.llama_sampler_init_penalties(tokens, PENALTY_WINDOW, sampling.repeat_penalty, 0.0, 0.0)
        )
    if sampling.temperature <= 0:
        links.append(llama_cpp.llama_sampler_init_greedy())
    else:
        links += [
            llama_cpp.llama_sampler_init_top_k(sampling.top_k),
            llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1),
            llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1),
            llama_cpp.llama_sampler_init_temp(sampling.temperature),
            llama_cpp.llama_sampler_init_dist(sampling.seed),
        ]
    for link in links:
        llama_cpp.llama_sampler_chain_add(chain, link)
    return chain
