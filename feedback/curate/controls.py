"""Control tokens: texts that a tokenizer reads as one token of its own; no training text may hold one.

A visitor who types `<|eot_id|>` is answered safely (the chat sends it as plain characters), but a trainer
would read it as the end of a turn. Llama-3's names are always known; a tokenizer adds its own.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from backtalk.errors import WordsError
from backtalk.files import read_json

MINI = Path(__file__).resolve().parents[2] / "models" / "mini" / "tokenizer.json"

LLAMA = (
    r"<\|(?:begin_of_text|end_of_text|start_header_id|end_header_id|eot_id|eom_id|python_tag|step_id|image"
)
LLAMA += r"|finetune_right_pad_id|reserved_special_token_[0-9]{1,3})\|>"


def pattern(names: Iterable[str] = ()) -> re.Pattern[str]:
    """What finds a control token of Llama-3, or one of `names`, in a text."""
    longest_first = sorted((name for name in names if name), key=lambda name: (-len(name), name))
    return re.compile("|".join([LLAMA, *map(re.escape, longest_first)]))


def added_tokens(tokenizer: Path) -> list[str]:
    """The added tokens of a tokenizer.json, in order."""
    if not tokenizer.is_file():
        raise WordsError(f"There is no file {tokenizer}; the tokenizer.json of the model to train is wanted.")
    return sorted({entry["content"] for entry in read_json(tokenizer).get("added_tokens", [])})
