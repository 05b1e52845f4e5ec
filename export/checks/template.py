"""Is a conversation rendered, as it is served, the way that the model was trained on?

Thirty conversations: languages, code, emoji, white space, several turns, control tokens typed by somebody.
backtalk/prompt renders them with what the GGUF holds, transformers with what the folder holds. Texts must be
equal, and the ids too, but where a control token was typed: transformers would obey it, and we do not.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from backtalk.engine.vocabulary import Vocabulary, metadata
from backtalk.errors import ModelError
from backtalk.files import read_jsonl
from backtalk.prompt import Message, Template

FILE = Path(__file__).parents[1] / "data" / "conversations.jsonl"
REFUSED = "the template refused"


@cache
def conversations() -> tuple[list[Message], ...]:
    """The thirty. Nothing was ever trained on them."""
    return tuple(row["messages"] for row in read_jsonl(FILE))


def count_equal(tokenizer: Any, llama: Any, chats: Sequence[Sequence[Message]]) -> int:
    """How many of `chats` are rendered alike; `llama` is a `llama_cpp.Llama`.

    A template that refuses a conversation (some know no system prompt) must refuse it on both sides.
    """
    vocabulary = Vocabulary(llama.model)
    source = metadata(llama.model, "tokenizer.chat_template")
    template = Template(source, vocabulary.controls, vocabulary.tokenize, vocabulary.bos, vocabulary.eos)
    return sum(_alike(tokenizer, template, list(vocabulary.controls), list(chat)) for chat in chats)


def _alike(tokenizer: Any, template: Template, controls: Sequence[str], chat: list[Message]) -> bool:
    expected = _rendered_by_transformers(tokenizer, chat)
    try:
        text = template.render(chat)
    except ModelError:
        return expected == REFUSED
    if text != expected:
        return False
    if any(control in message["content"] for control in controls if control for message in chat):
        return True
    return template.tokens(chat) == tokenizer.encode(expected, add_special_tokens=False)


def _rendered_by_transformers(tokenizer: Any, chat: list[Message]) -> str:
    try:
        return tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    except Exception:  # whatever a template raises comes through as it is
        return REFUSED
