"""From a GGUF to a llama.cpp model and a context; what llama.cpp says meanwhile is kept for our sentences."""

from __future__ import annotations  # llama_cpp names its handles for type checkers only

import ctypes

import llama_cpp

from backtalk.engine.machine import usable_cores
from backtalk.errors import ModelError
from backtalk.gguf_check import check, head
from backtalk.memory import SLICE_TOKENS, cells, free_bytes, serving_bytes
from backtalk.models import Model

LARGEST_BATCH = SLICE_TOKENS  # tokens of one call: more are not read faster, and take more memory
ONE_THREAD_BYTES = 64 * 2**20
"""Of a model: below this, waiting for the other thread takes longer than its half of the work."""
MB = 2**20


def load_weights(model: Model) -> llama_cpp.llama_model_p:
    """Raises ModelError for a file that llama.cpp cannot use; give it none that `check` refuses."""
    _keep_quiet()
    parameters = llama_cpp.llama_model_default_params()
    handle = llama_cpp.llama_model_load_from_file(str(model.path).encode(), parameters)
    if not handle:
        said = f": {_said[-1]}" if _said else ""
        raise ModelError(
            f"llama.cpp cannot load {model.path}{said}. The file may be cut short; fetch it again "
            "or give another one with --model."
        )
    return handle


def fitting_threads(handle: llama_cpp.llama_model_p) -> int:
    """One thread for a small model: on a busy machine a second one made it eight times slower."""
    return 1 if llama_cpp.llama_model_size(handle) < ONE_THREAD_BYTES else usable_cores()


def fitting_context(model: Model, context: int) -> int:
    """Tokens that one conversation may have: `context`, or less where the model was trained on less."""
    check(model.path)  # llama.cpp ends the process over some broken files
    trained = next((v for key, v in head(model.path).items() if key.endswith(".context_length")), context)
    return min(context, trained) if isinstance(trained, int) and trained > 0 else context


def fitting_live(model: Model, context: int, live: int) -> int:
    """How many can be answered at once: `live`, or fewer where so many whole contexts would not fit.

    Raises ModelError, before anything is loaded, when not even one conversation fits this machine's memory.
    """
    free = free_bytes()
    if free is None:
        return live
    needed = serving_bytes(model.path, context)
    if needed > free:
        raise ModelError(
            f"{model.name} needs {needed / MB:,.0f} MB of memory with a context of "
            f"{context:,} tokens, and {free / MB:,.0f} MB are free. Start with a smaller --context or model."
        ).called("no_memory", model=model.name, needed=round(needed / MB), free=round(free / MB))
    each = serving_bytes(model.path, context, live=2) - needed
    return min(live, 1 + (free - needed) // max(1, each))


def keeps_a_running_state(handle: llama_cpp.llama_model_p) -> bool:
    """True for architectures that do not keep every token's state, as Mamba and its hybrids."""
    return llama_cpp.llama_model_is_recurrent(handle) or llama_cpp.llama_model_is_hybrid(handle)


def new_context(
    handle: llama_cpp.llama_model_p, model: Model, tokens: int, sequences: int, threads: int
) -> llama_cpp.llama_context_p:
    """One context for all, with a cache of `tokens` for each sequence.

    A buffer of its own for each, and no flash attention: on a CPU that is slow in calls of fewer than 64
    tokens, and without it one buffer for all would have everybody's tokens computed for everybody.
    """
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx, parameters.n_seq_max = cells(tokens) * sequences, sequences
    parameters.kv_unified = False
    parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.n_batch, parameters.n_ubatch = max(LARGEST_BATCH, sequences), LARGEST_BATCH
    parameters.n_threads = parameters.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(handle, parameters)
    if not context:
        raise ModelError(
            f"There is not enough memory for {model.name} with a context of {tokens:,} tokens. "
            "Start with a smaller --context."
        )
    return context


_said: list[str] = []  # what llama.cpp last complained about


@llama_cpp.llama_log_callback
def _listen(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    error = 4  # ggml_log_level: GGML_LOG_LEVEL_ERROR
    if level == error:
        _said[:] = [*_said[-9:], text.decode("utf-8", "replace").strip()]


def _keep_quiet() -> None:
    """llama.cpp prints hundreds of lines while loading; only its complaints are kept, for our sentence."""
    _said.clear()
    llama_cpp.llama_log_set(_listen, ctypes.c_void_p(0))
