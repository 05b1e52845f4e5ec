"""Every id's text and type, as a GGUF wants them: one list from 0 to the model's rows of embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf

from backtalk.errors import ModelError

Json = Mapping[str, Any]
SURROUNDINGS = ("lstrip", "rstrip", "single_word")


@dataclass(frozen=True)
class Vocabulary:
    """Texts and gguf.TokenType of the ids 0, 1, 2, ..."""

    tokens: list[str]
    types: list[int]


def read_vocabulary(path: Path, tokenizer: Json, size: int) -> Vocabulary:
    """The tokens of a `tokenizer.json`; ids that it does not use up to `size` are marked as unused."""
    known: dict[int, str] = {}
    types: dict[int, int] = {}
    try:
        for word, place in tokenizer["model"]["vocab"].items():
            known[place], types[place] = word, gguf.TokenType.NORMAL
        for added in tokenizer.get("added_tokens") or []:
            _refuse_surroundings(path, added)
            known[added["id"]] = added["content"]
            types[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        return filled(known, types, size)
    except (KeyError, TypeError, AttributeError) as fault:
        raise ModelError(f"{path} is not a whole tokenizer ({fault}). Fetch or save it again.") from fault


def filled(known: Mapping[int, str], types: Mapping[int, int], size: int) -> Vocabulary:
    """Lists without gaps. Raises ModelError when the tokenizer has more ids than the model has rows."""
    if not known or max(known) >= size:
        raise ModelError(
            f"The tokenizer has ids up to {max(known, default=-1)} and the model has {size} rows of "
            "embeddings. Resize the embeddings, or use the tokenizer that the model was trained with."
        )
    return Vocabulary(
        [known.get(place, f"[PAD{place}]") for place in range(size)],
        [int(types.get(place, gguf.TokenType.UNUSED)) for place in range(size)],
    )


def _refuse_surroundings(path: Path, added: Json) -> None:
    """A GGUF has no words for an added token that takes the white space around it or minds its neighbours."""
    found = [name for name in SURROUNDINGS if added.get(name)]
    if found and not added["special"]:
        raise ModelError(
            f"{path} adds the token {added['content']!r} with {found[0]}, which llama.cpp does not know; "
            "a text around it would be read differently. Save the tokenizer without it."
        )
