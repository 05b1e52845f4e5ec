"""Conversations -> tokens, with what is learned marked; token for token what is sent when serving.

    renderer = Renderer(Path("models/mini"))
    row = renderer.row({"prompt": [...], "completion": [...]})

The prompt comes from `backtalk.prompt`, the code that serves it, with this model's template and tokenizer. A
row is learned where the model would have to speak: its answer and the token that ends it, never a prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from backtalk.errors import BacktalkError, ModelError
from backtalk.files import read_json
from backtalk.prompt import Message, Template

IGNORED = -100  # the label of a token that is read and not learned, as PyTorch's loss has it
TEXTS = 4096  # texts whose tokens are remembered
SHOWN_FAULTS = 5
BARE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ message['content'] | trim }}{{ eos_token }}"
    "{% else %}{{ message['content'] }}\n{% endif %}{% endfor %}"
)
"""For bases without a chat template, such as GPT-2: contents one below another, an answer ends the text.

A first question reads as `backtalk evaluate` asks it of such a model.
"""


@dataclass(frozen=True)
class Row:
    """A conversation as tokens; `labels` repeats the ids that are learned, and is IGNORED elsewhere."""

    ids: list[int]
    labels: list[int]

    @property
    def learned(self) -> int:
        """How many tokens the model has to predict."""
        return sum(label != IGNORED for label in self.labels)


class Renderer:
    """The template and the tokenizer of a base, as they serve."""

    def __init__(self, folder: Path):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.encode_special_tokens = True  # what people wrote is plain text, whatever it spells
        tokenizer.no_truncation()
        tokenizer.no_padding()
        config = _config(folder)
        added = tokenizer.get_added_tokens_decoder()
        self.controls = sorted(token.content for token in added.values())
        """The added tokens, none of which may stand in a training text."""
        source = _template(folder, config)
        self.bare = not source
        """Whether the base has no chat template of its own."""
        self.template = Template(
            source or BARE,
            {token.content: id for id, token in added.items() if token.special},
            # Each border of a row is found by rendering what stands before it, so a text comes several times.
            lru_cache(TEXTS)(lambda text: tokenizer.encode(text, add_special_tokens=False).ids),
            bos_token=_name(folder, config, "bos_token", tokenizer),
            eos_token=_name(folder, config, "eos_token", tokenizer),
        )

    def row(self, conversation: Mapping[str, Any]) -> Row:
        """The tokens of `messages`, or of `prompt` and `completion`.

        Of `messages` every assistant turn is learned, of a completion the assistant turns in it.
        Raises BacktalkError where there is nothing to learn.
        """
        messages, first = _messages(conversation)
        spoken = [place for place in range(first, len(messages)) if messages[place]["role"] == "assistant"]
        if not spoken:
            raise BacktalkError("has no assistant turn to learn")
        ids = self.template.tokens(messages[: spoken[-1] + 1], generate=False)
        labels = [IGNORED] * len(ids)
        for place in spoken:
            start = self._border(ids, messages[:place], generate=True)
            end = self._border(ids, messages[: place + 1], generate=False)
            labels[start:end] = ids[start:end]
        return Row(ids, labels)

    def _border(self, ids: list[int], messages: Sequence[Message], generate: bool) -> int:
        """Where `messages` end in `ids`, which have to begin with their tokens."""
        prefix = self.template.tokens(messages, generate)
        if ids[: len(prefix)] != prefix:
            raise ModelError(
                "The base's chat template writes a conversation otherwise when it goes on, so its prompts "
                "in training would differ from those in serving. Use a base whose template only appends."
            )
        return len(prefix)


def render_all(renderer: Renderer, conversations: Sequence[Mapping[str, Any]], longest: int) -> list[Row]:
    """All rows; those that are too long or have nothing to learn are named by number in one sentence."""
    rows: list[Row] = []
    mute: list[int] = []
    long: list[int] = []
    for number, conversation in enumerate(conversations, start=1):
        try:
            row = renderer.row(conversation)
        except ModelError:
            raise
        except BacktalkError:
            mute.append(number)
            continue
        if len(row.ids) > longest:
            long.append(number)
        rows.append(row)
    if not conversations:
        raise BacktalkError("The data hold no rows, so there is nothing to learn. Check the recipe's data.")
    if mute:
        raise BacktalkError(
            f"{_numbers(mute)} of the training data {_has(mute)} no assistant turn, so nothing can be "
            "learned there. Correct or leave out these rows."
        )
    if long:
        raise BacktalkError(
            f"{_numbers(long)} of the training data {_has(long)} more than {longest} tokens "
            f"(batch.max_length). Raise it, or leave long rows out with data.filters.longest: {longest}."
        )
    return rows


def _has(numbers: Sequence[int]) -> str:
    return "has" if len(numbers) == 1 else "have"


def _numbers(numbers: Sequence[int]) -> str:
    """`Row 7`, `Rows 7, 9 and 12`, `Rows 7, 9, 12, 15, 16 and 20 more`."""
    shown = [str(number) for number in numbers[:SHOWN_FAULTS]]
    if len(numbers) == 1:
        return f"Row {shown[0]}"
    if len(numbers) > SHOWN_FAULTS:
        return f"Rows {', '.join(shown)} and {len(numbers) - SHOWN_FAULTS} more"
    return f"Rows {', '.join(shown[:-1])} and {shown[-1]}"


def _messages(conversation: Mapping[str, Any]) -> tuple[list[Message], int]:
    """The messages, and the place of the first that may be learned."""
    if "messages" in conversation:
        return list(conversation["messages"]), 0
    prompt = list(conversation["prompt"])
    return [*prompt, *conversation["completion"]], len(prompt)


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.exists() else {}


def _template(folder: Path, config: Mapping[str, Any]) -> str:
    """The chat template's source; empty where there is none."""
    path = folder / "chat_template.jinja"
    source = path.read_text(encoding="utf-8") if path.exists() else config.get("chat_template")
    return source if isinstance(source, str) else ""


def _name(folder: Path, config: Mapping[str, Any], key: str, tokenizer: Tokenizer) -> str:
    """The text of a token, which some configurations wrap, and which older ones give by its id alone."""
    given = config.get(key)
    if given:
        return str(given.get("content", "")) if isinstance(given, Mapping) else str(given)
    number = read_json(folder / "config.json").get(f"{key}_id")
    return (tokenizer.id_to_token(number) or "") if isinstance(number, int) else ""
