"""SentencePiece's BPE -> GGUF: a score for every piece instead of merges.

Of two neighbours llama.cpp joins those whose union has the highest score. `tokenizer.json` keeps an order of
merges instead; both read every text alike exactly if all splits of a piece into two pieces are merges, and
the merges of one piece stand together. That is how such files are derived from SentencePiece's; where it does
not hold the tokenizer is refused. The score is then the rank, negated.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf

from backtalk.errors import ModelError
from export.vocabulary import Json, Vocabulary, filled

SPACE = "▁"  # U+2581 stands for a space
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
UNMERGED = -1000.0  # the customary score of what no merge makes
BPE = 2  # TrainerSpec.ModelType
PIECE_TYPES = {
    1: gguf.TokenType.NORMAL,
    2: gguf.TokenType.UNKNOWN,
    3: gguf.TokenType.CONTROL,
    4: gguf.TokenType.USER_DEFINED,
    5: gguf.TokenType.UNUSED,
    6: gguf.TokenType.BYTE,
}


def write(writer: gguf.GGUFWriter, path: Path, tokenizer: Json, vocabulary: Vocabulary) -> None:
    """Writes the pieces of a `tokenizer.json`. Raises ModelError where llama.cpp would read differently."""
    merges = [_pair(path, merge) for merge in tokenizer["model"].get("merges") or []]
    types = list(vocabulary.types)
    for place, (word, type) in enumerate(zip(vocabulary.tokens, types, strict=True)):
        if type == gguf.TokenType.NORMAL and BYTE.fullmatch(word):
            types[place] = gguf.TokenType.BYTE
        elif word == tokenizer["model"].get("unk_token"):
            types[place] = gguf.TokenType.UNKNOWN
    ranks = _ranks(path, merges, set(vocabulary.tokens))
    scores = [-float(ranks[word]) if word in ranks else UNMERGED for word in vocabulary.tokens]
    _write(writer, path, vocabulary.tokens, scores, types, _adds_space(path, tokenizer))


def write_model_file(writer: gguf.GGUFWriter, path: Path, config: Json, size: int) -> Vocabulary:
    """Writes SentencePiece's own `tokenizer.model`, with the tokens that tokenizer_config.json adds."""
    try:
        pieces, kind, adds_space = _read_model_file(path.read_bytes())
    except (ValueError, IndexError, struct.error) as fault:
        raise ModelError(f"{path} is not a whole SentencePiece model ({fault}). Fetch it again.") from fault
    if kind != BPE:
        raise ModelError(f"{path} is a SentencePiece model of another type than BPE, and BPE was wanted.")
    known = {place: word for place, (word, _, _) in enumerate(pieces)}
    types: dict[int, int] = {place: PIECE_TYPES[type] for place, (_, _, type) in enumerate(pieces)}
    for place, added in (config.get("added_tokens_decoder") or {}).items():
        if int(place) >= len(pieces):
            known[int(place)] = added["content"]
            types[int(place)] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    vocabulary = filled(known, types, size)
    scores = [score for _, score, _ in pieces] + [UNMERGED] * (size - len(pieces))
    _write(writer, path, vocabulary.tokens, scores, vocabulary.types, adds_space)
    return vocabulary


def _write(
    writer: gguf.GGUFWriter, path: Path, tokens: list[str], scores: list[float], types: list[int], space: bool
) -> None:
    if types.count(gguf.TokenType.BYTE) != 256:
        raise ModelError(
            f"{path} spells {types.count(gguf.TokenType.BYTE)} of 256 bytes, and llama.cpp needs all of them "
            "for what no piece covers. This model cannot be served as a GGUF here."
        )
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_add_space_prefix(space)


# ---- tokenizer.json


def _pair(path: Path, merge: Any) -> tuple[str, str]:
    words = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(words, list) or len(words) != 2:
        raise ModelError(f"{path} holds the merge {merge!r}; two words were wanted. Fetch or save it again.")
    return words[0], words[1]


def _ranks(path: Path, merges: list[tuple[str, str]], words: set[str]) -> dict[str, int]:
    """Every merged piece's place in the order. Raises ModelError where scores would read another way."""
    ranks: dict[str, int] = {}
    for left, right in merges:
        ranks.setdefault(left + right, len(ranks))
    order = [ranks[left + right] for left, right in merges]
    known = set(merges)
    split = [pair for word in words for pair in _pairs(word, words) if pair not in known]
    if order != sorted(order) or split:
        raise ModelError(
            f"{path} merges by an order that scores cannot say{_example(split)}; SentencePiece's own "
            "order was wanted. Give --llama-cpp DIR, a checkout of llama.cpp, to use its converter."
        )
    return ranks


def _example(split: list[tuple[str, str]]) -> str:
    return f" ({split[0][0]!r} and {split[0][1]!r} stay apart)" if split else ""


def _pairs(word: str, words: set[str]) -> Iterator[tuple[str, str]]:
    """Every two known pieces that spell a word: llama.cpp joins any of them."""
    for place in range(1, len(word)):
        if word[:place] in words and word[place:] in words:
            yield word[:place], word[place:]


def _adds_space(path: Path, tokenizer: Json) -> bool:
    """Whether a text begins with a space that it did not have; other changes of the text are refused."""
    adds, writes_spaces = False, False
    for step in _steps(tokenizer, "normalizer") + _steps(tokenizer, "pre_tokenizer"):
        kind = step.get("type")
        if kind == "Prepend" and step.get("prepend") == SPACE:
            adds = True
        elif kind == "Replace" and step.get("pattern") == {"String": " "} and step.get("content") == SPACE:
            writes_spaces = True
        elif kind == "Metaspace" and step.get("replacement") == SPACE and not _splits(step, tokenizer):
            writes_spaces = True
            adds = adds or step.get("prepend_scheme", "always") != "never"
        else:
            raise ModelError(
                f"{path} changes a text by {kind} before it is read, which llama.cpp does not do. "
                "This model cannot be served as a GGUF here."
            )
    if not writes_spaces:
        raise ModelError(f"{path} does not write spaces as {SPACE!r}, and SentencePiece's BPE was wanted.")
    return adds


def _splits(step: Json, tokenizer: Json) -> bool:
    """Splitting at spaces matters only where a piece has one that is not its first character."""
    return step.get("split", True) and any(SPACE in word[1:] for word in tokenizer["model"]["vocab"])


def _steps(tokenizer: Json, name: str) -> list[Json]:
    """A step stands alone or in a sequence, which is named in the plural and without the underscore."""
    part = tokenizer.get(name) or {}
    return part.get(f"{name.replace('_', '')}s", [part] if part else [])


# ---- tokenizer.model: a protocol buffer, of which four fields matter


def _read_model_file(data: bytes) -> tuple[list[tuple[str, float, int]], int, bool]:
    """(text, score, type) of each piece, the model's type, whether a space is put before a text."""
    pieces, kind, adds_space = [], 1, True
    for field, value in _fields(data):
        if field == 1:
            piece = {1: b"", 2: b"\0" * 4, 3: 1} | dict(_fields(_bytes(value)))
            text, score = _bytes(piece[1]).decode(), struct.unpack("<f", _bytes(piece[2]))[0]
            if piece[3] not in PIECE_TYPES:
                raise ValueError(f"a piece of type {piece[3]!r}")
            pieces.append((text, score, piece[3]))
        elif field == 2:
            kind = dict(_fields(_bytes(value))).get(3, 1)
        elif field == 3:
            adds_space = bool(dict(_fields(_bytes(value))).get(3, 1))
    return pieces, kind, adds_space


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a message: an int, or bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"a field of kind {wire}")
        length, at = _varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
        if at + length > len(data):
            raise ValueError(f"it ends {at + length - len(data)} bytes too early")
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number, shift = 0, 0
    while shift < 64:
        byte = data[at]
        number, shift, at = number | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return number, at
    raise ValueError("a number of more than 64 bits")


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f"{value!r} where a text was wanted")
    return value
