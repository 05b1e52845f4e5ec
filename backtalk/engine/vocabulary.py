"""A loaded model's tokens: text <-> ids, and which of them control the conversation."""

from __future__ import annotations  # llama_cpp names its handles for type checkers only

import ctypes

import llama_cpp


class Vocabulary:
    """Tokenizes plain text, spells tokens, knows the control tokens."""

    def __init__(self, handle: llama_cpp.llama_model_p):
        self._vocab = llama_cpp.llama_model_get_vocab(handle)
        size = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self.controls = {
            self._text(token): token
            for token in range(size)
            if llama_cpp.llama_vocab_is_control(self._vocab, token)
        }
        self.bos = self._text(llama_cpp.llama_vocab_bos(self._vocab))
        self.eos = self._text(llama_cpp.llama_vocab_eos(self._vocab))
        # A call into C per token and answer costs more than the lookup: the tables are filled once.
        self._pieces = [self._spell(token) for token in range(size)]
        self._ends = {token for token in range(size) if llama_cpp.llama_vocab_is_eog(self._vocab, token)}

    def __len__(self) -> int:
        return len(self._pieces)

    def tokenize(self, text: str) -> list[int]:
        """Ids of plain text: nothing in it becomes a control token, nothing is added."""
        encoded = text.encode("utf-8", "replace")
        room = len(encoded) + 2
        ids = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self._vocab, encoded, len(encoded), ids, room, False, False)
        return ids[:count]

    def piece(self, token: int) -> bytes:
        """The bytes of a token; a control token has none. A character may be spread over several tokens."""
        return self._pieces[token]

    def is_end(self, token: int) -> bool:
        """True for the tokens that end an answer."""
        return token in self._ends

    def _text(self, token: int) -> str:
        if token < 0:  # llama.cpp's word for "this model has none"
            return ""
        return llama_cpp.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace")

    def _spell(self, token: int) -> bytes:
        room = 256
        buffer = ctypes.create_string_buffer(room)
        length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, room, 0, False)
        return buffer.raw[: max(length, 0)]


def metadata(handle: llama_cpp.llama_model_p, key: str) -> str:
    """A value of the GGUF's metadata as text; empty where there is none."""
    room = 1 << 20
    buffer = ctypes.create_string_buffer(room)
    length = llama_cpp.llama_model_meta_val_str(handle, key.encode(), buffer, room)
    return buffer.value.decode("utf-8", "replace") if length > 0 else ""
