"""The tokens of one step of the model: of several conversations, each at its own place.

batch.clear()
row = batch.add_one(token, position, sequence)
batch.add(prompt[60:124], 60, other_sequence, wants_logits=False)
llama_cpp.llama_decode(context, batch.raw)
llama_cpp.llama_sampler_sample(sampler, context, row)
"""

import ctypes
from collections.abc import Sequence

import llama_cpp


class Batch:
    """A llama_batch whose arrays are ours and are filled by slices: a loop in Python would cost more."""

    def __init__(self, tokens: int, sequences: int):
        self._tokens = (llama_cpp.llama_token * tokens)()
        self._positions = (llama_cpp.llama_pos * tokens)()
        self._counts = (ctypes.c_int32 * tokens)(*[1] * tokens)
        self._names = [(llama_cpp.llama_seq_id * 1)(number) for number in range(sequences)]
        pointer = ctypes.POINTER(llama_cpp.llama_seq_id)
        self._pointers = [ctypes.cast(name, pointer) for name in self._names]
        self._sequences = (pointer * tokens)()
        self._logits = (ctypes.c_int8 * tokens)()
        self.room = tokens
        self._used = 0
        self.raw = llama_cpp.llama_batch()
        self.raw.token, self.raw.pos = self._tokens, self._positions
        self.raw.n_seq_id, self.raw.seq_id = self._counts, self._sequences
        self.raw.logits = self._logits
        self.clear()

    def __len__(self) -> int:
        return self._used

    def clear(self) -> None:
        self._used = self.raw.n_tokens = 0

    def add_one(self, token: int, position: int, sequence: int) -> int:
        """Appends one token whose logits are wanted: its row. Ten times as fast as slices of one."""
        row = self._used
        self._tokens[row] = token
        self._positions[row] = position
        self._sequences[row] = self._pointers[sequence]
        self._logits[row] = 1
        self._used = self.raw.n_tokens = row + 1
        return row

    def add(self, tokens: Sequence[int], position: int, sequence: int, *, wants_logits: bool) -> int:
        """Appends tokens of one sequence, the first at `position`; the row of the last one."""
        start = self._used
        end = start + len(tokens)
        self._tokens[start:end] = tokens
        self._positions[start:end] = range(position, position + len(tokens))
        self._sequences[start:end] = [self._pointers[sequence]] * len(tokens)
        self._logits[start:end] = [0] * len(tokens)
        self._logits[end - 1] = wants_logits
        self._used = self.raw.n_tokens = end
        return end - 1
