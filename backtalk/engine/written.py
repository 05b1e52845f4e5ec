"""The tokens in which answers were written, so that a later prompt holds the same ones.

    written.remember(prompt, answer)            both as tokens, at the end of an answer
    written.find(before, "\n\nIt is on its way.")   the tokens of that text after these, or nothing

A model may write a text in other tokens than those that the tokenizer makes of it, and templates trim what
it wrote. Then the conversation would be read again from there on, although it is known. Only such answers are
remembered, and only for the conversation in which they were written.
"""

from __future__ import annotations  # before 3.12 an array's type takes no subscript

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from backtalk.engine.sequences import TOKEN
from backtalk.engine.vocabulary import Vocabulary

MOST = 4096  # answers that are remembered, the latest: a few MB


@dataclass(frozen=True)
class _Piece:
    """What stood between two control tokens, and all that stood before it."""

    before: array[int]
    tokens: array[int]


class Written:
    """Safe for threads."""

    def __init__(self, vocabulary: Vocabulary):
        self._vocabulary = vocabulary
        self._controls = frozenset(vocabulary.controls.values())
        self._pieces: OrderedDict[str, _Piece] = OrderedDict()
        self._lock = Lock()

    def remember(self, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """`answer` was written after `prompt`."""
        if not answer or not self._controls.isdisjoint(answer):
            return
        start = next((at for at in range(len(prompt), 0, -1) if prompt[at - 1] in self._controls), 0)
        tokens = [*prompt[start:], *answer]
        text = b"".join(map(self._vocabulary.piece, tokens)).decode("utf-8", "replace")
        opening = b"".join(map(self._vocabulary.piece, prompt[start:])).decode("utf-8", "replace")
        trimmed = opening + text[len(opening) :].strip()
        if self._vocabulary.tokenize(trimmed) == tokens:
            return
        with self._lock:
            self._pieces[trimmed.strip()] = _Piece(array(TOKEN, prompt[:start]), array(TOKEN, tokens))
            if len(self._pieces) > MOST:
                self._pieces.popitem(last=False)

    def find(self, before: Sequence[int], text: str) -> Sequence[int]:
        """The tokens of a piece of a conversation that stands after `before`; none where it is not known."""
        piece = self._pieces.get(text.strip())
        return piece.tokens if piece and piece.before == array(TOKEN, before) else ()
