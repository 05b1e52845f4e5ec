"""The engine on llama.cpp: one model, one context, one worker thread that reads prompts and writes answers.

The worker owns the C context, so no lock is ever held across a token, and a reader that goes away stops
nothing. The longest common prefix of the last prompt and the next one is not read again. A prompt is read
in slices whose size follows the measured speed, so that a cancellation never waits longer than about one
slice.
"""

from __future__ import annotations  # llama_cpp names its handles for type checkers only

import codecs
import ctypes
import hashlib
import time
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from threading import Event, Thread

import llama_cpp

from backtalk.engine import CANCELLED, FULL, STOPPED, Ending, Sampling
from backtalk.engine.machine import usable_cores
from backtalk.engine.vocabulary import Vocabulary, metadata
from backtalk.errors import ModelError
from backtalk.gguf_check import check
from backtalk.models import Model
from backtalk.prompt import Message, Prompt, Template, fit

SLICE_SECONDS = 0.12  # a slice of prompt is sized to take this long: the wait of a cancellation
SMALLEST_SLICE, LARGEST_SLICE = 16, 512  # tokens
GATHER_SECONDS = (
    0.015  # pieces that follow each other faster are handed over together: 60 a second are enough
)
ANSWER_SHARE = 4  # an answer may reserve at most 1/4 of the context, so that a question always has room
ONE_THREAD_BYTES = (
    64 * 2**20
)  # below this, waiting for the other thread takes longer than its half of the work
PENALTY_WINDOW = 64  # tokens that the repetition penalty looks back on


class LlamaEngine:
    """See backtalk.engine.Engine."""

    name = f"llama-cpp-python-{llama_cpp.__version__}"

    def __init__(self, model: Model, context: int, threads: int):
        self._model = model
        self._handle = _load_weights(model)
        trained_context = llama_cpp.llama_model_n_ctx_train(self._handle)
        self._context_tokens = min(context, trained_context)
        self.threads = threads or _fitting_threads(self._handle)
        self._context = _new_context(self._handle, self._context_tokens, self.threads, model)
        self._vocabulary = Vocabulary(self._handle)
        source = metadata(self._handle, "tokenizer.chat_template")
        if not source:
            raise ModelError(
                f"{model.path.name} has no chat template, and a chat needs one. Use an instruct model."
            )
        self.template_sha256 = hashlib.sha256(source.encode()).hexdigest()
        self._template = Template(
            source,
            self._vocabulary.controls,
            self._vocabulary.tokenize,
            bos_token=self._vocabulary.bos,
            eos_token=self._vocabulary.eos,
        )
        self._read: list[int] = []  # the tokens whose state the context holds
        self._slice = SMALLEST_SLICE
        self._waiting: SimpleQueue[LlamaStream | None] = SimpleQueue()
        self._worker = Thread(target=self._work, name="engine", daemon=True)
        self._worker.start()

    @property
    def model(self) -> Model:
        return self._model

    @property
    def context(self) -> int:
        return self._context_tokens

    def prompt(self, messages: Sequence[Message], max_tokens: int) -> Prompt:
        reserved = min(max_tokens, self._context_tokens // ANSWER_SHARE)
        return fit(self._template, messages, self._context_tokens - reserved)

    def stream(self, prompt: Prompt, sampling: Sampling) -> LlamaStream:
        stream = LlamaStream(prompt, sampling)
        self._waiting.put(stream)
        return stream

    def close(self) -> None:
        """Lets running answers end, then frees the model."""
        if self._worker.is_alive():
            self._waiting.put(None)
            self._worker.join()
            llama_cpp.llama_free(self._context)
            llama_cpp.llama_model_free(self._handle)

    def _work(self) -> None:
        while (stream := self._waiting.get()) is not None:
            stream.begun.set()
            try:
                stream.end(stream.unwritten() if stream.cancelled.is_set() else self._answer(stream))
            except Exception as fault:  # the reader's thread is the one that can tell somebody
                stream.end(fault)

    def _answer(self, stream: LlamaStream) -> Ending:
        prompt, sampling = stream.prompt.tokens, stream.sampling
        cached = self._keep_common_prefix(prompt)
        whole = self._read_prompt(prompt, stream.cancelled)
        room = min(sampling.max_tokens, self._context_tokens - len(prompt))
        reason, written, seconds = CANCELLED, 0, 0.0
        first_token_ms = 0.0
        if whole:
            first_token_ms = (time.perf_counter() - stream.asked_at) * 1000
            reason, written, seconds = self._write(stream, room)
        speed = (written - 1) / seconds if written > 1 and seconds > 0 else 0.0
        return Ending(reason, len(prompt), cached, written, round(first_token_ms, 1), round(speed, 1))

    def _keep_common_prefix(self, prompt: list[int]) -> int:
        """Forgets what differs from the last prompt; the last token is always read again, for its logits."""
        common = 0
        for old, new in zip(self._read, prompt[:-1], strict=False):
            if old != new:
                break
            common += 1
        self._forget_after(common)
        return common

    def _forget_after(self, length: int) -> None:
        memory = llama_cpp.llama_get_memory(self._context)
        if not llama_cpp.llama_memory_seq_rm(memory, 0, length, -1):
            llama_cpp.llama_memory_clear(memory, True)  # some architectures can only forget everything
            length = 0
        del self._read[length:]

    def _read_prompt(self, prompt: list[int], cancelled: Event) -> bool:
        """Reads what is not read yet, slice by slice; False when cancelled on the way."""
        while len(self._read) < len(prompt):
            if cancelled.is_set():
                return False
            part = prompt[len(self._read) : len(self._read) + self._slice]
            started = time.perf_counter()
            self._decode(part)
            speed = len(part) / (time.perf_counter() - started)
            self._slice = max(SMALLEST_SLICE, min(LARGEST_SLICE, int(speed * SLICE_SECONDS)))
        return True

    def _write(self, stream: LlamaStream, room: int) -> tuple[str, int, float]:
        """Writes the answer into the stream: why it ended, tokens, seconds from the first to the last."""
        sampler = _new_sampler(stream.sampling, len(self._vocabulary))
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        piece, is_end = self._vocabulary.piece, self._vocabulary.is_end
        started = handed_over = time.perf_counter()
        gathered, written, reason = "", 0, FULL
        token_array = (llama_cpp.llama_token * 1)()
        batch = llama_cpp.llama_batch_get_one(token_array, 1)
        now = started
        try:
            while written < room:
                if stream.cancelled.is_set():
                    reason = CANCELLED
                    break
                token = llama_cpp.llama_sampler_sample(sampler, self._context, -1)
                if is_end(token):
                    reason = STOPPED
                    break
                written += 1
                gathered += decoder.decode(piece(token))
                now = time.perf_counter()
                if gathered and (now - handed_over >= GATHER_SECONDS or written == 1):
                    stream.hand_over(gathered)
                    gathered, handed_over = "", now
                if written < room:
                    token_array[0] = token
                    self._checked(llama_cpp.llama_decode(self._context, batch))
                    self._read.append(token)
        finally:
            llama_cpp.llama_sampler_free(sampler)
        gathered += decoder.decode(b"", final=True)
        if gathered:
            stream.hand_over(gathered)
        return reason, written, now - started

    def _decode(self, tokens: list[int]) -> None:
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        self._checked(
            llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(array, len(tokens)))
        )
        self._read.extend(tokens)

    def _checked(self, code: int) -> None:
        if code != 0:
            self._forget_after(0)
            raise ModelError(
                f"{self._model.name} could not compute the next token (llama.cpp answered {code}). "
                "Ask again; if it stays, start with a smaller context."
            )


class LlamaStream:
    """See backtalk.engine.Stream."""

    def __init__(self, prompt: Prompt, sampling: Sampling):
        self.prompt, self.sampling = prompt, sampling
        self.begun, self.cancelled = Event(), Event()
        self.asked_at = time.perf_counter()
        self._pieces: SimpleQueue[str | Ending | Exception] = SimpleQueue()
        self._ending: Ending | None = None

    def __iter__(self) -> Iterator[str]:
        while self._ending is None:
            piece = self._pieces.get()
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, Ending):
                self._ending = piece
            else:
                yield piece

    def cancel(self) -> None:
        self.cancelled.set()
        if not self.begun.is_set():  # still in line: nobody has to wait for the answers before
            self.end(self.unwritten())

    def unwritten(self) -> Ending:
        """The ending of an answer that never began."""
        return Ending(CANCELLED, len(self.prompt.tokens), 0, 0, 0.0, 0.0)

    @property
    def ending(self) -> Ending:
        if self._ending is None:
            raise RuntimeError("the stream was asked for its ending before it was read to the end")
        return self._ending

    def hand_over(self, text: str) -> None:
        self._pieces.put(text)

    def end(self, how: Ending | Exception) -> None:
        self._pieces.put(how)


def _load_weights(model: Model) -> llama_cpp.llama_model_p:
    check(model.path)  # llama.cpp ends the process over some broken files
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


def _fitting_threads(handle: llama_cpp.llama_model_p) -> int:
    """One thread for a small model: on a busy machine a second one made it eight times slower."""
    return 1 if llama_cpp.llama_model_size(handle) < ONE_THREAD_BYTES else usable_cores()


def _new_context(
    handle: llama_cpp.llama_model_p, tokens: int, threads: int, model: Model
) -> llama_cpp.llama_context_p:
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = tokens
    parameters.n_batch = parameters.n_ubatch = LARGEST_SLICE
    parameters.n_threads = parameters.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(handle, parameters)
    if not context:
        raise ModelError(
            f"There is not enough memory for {model.name} with a context of {tokens:,} tokens. "
            "Start with a smaller --context."
        )
    return context


def _new_sampler(sampling: Sampling, tokens: int) -> llama_cpp.llama_sampler_p:
    """llama.cpp's own chain in its usual order: penalty, top-k, top-p, min-p, temperature, the draw."""
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
