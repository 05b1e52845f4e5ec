"""The miniature's tokenizer: Llama-3's byte-level BPE at 4,096 tokens, trained on the miniature's own corpus.

Ids, lowest first: 256 bytes, the numbers 0 to 999 written with two and three digits (1,100 tokens: an order
number is copied in groups of three, as Llama-3 reads it), the merges learned from the corpus, and last
Llama-3's 256 special tokens in Llama-3's order. The same texts always give the same file. The chat template
writes the begin-of-text token itself, so nothing else may add one.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from backtalk.errors import BacktalkError
from backtalk.files import write_json, write_text
from training.mini.recipe import LONGEST

VOCABULARY = 4096
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

BEGIN_OF_TEXT, END_OF_TEXT, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"
START_HEADER, END_HEADER, END_OF_TURN = "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"


def special_tokens() -> list[str]:
    """Llama-3.2's 256 special tokens in its order; the reserved ones count on across the named ones."""
    named = {
        0: BEGIN_OF_TEXT, 1: END_OF_TEXT, 4: PAD, 6: START_HEADER, 7: END_HEADER,
        8: "<|eom_id|>", 9: END_OF_TURN, 10: "<|python_tag|>",
    }  # fmt: skip
    reserved = (f"<|reserved_special_token_{number}|>" for number in range(256))
    return [named.get(place) or next(reserved) for place in range(256)]


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """The tokenizer of a corpus; numbers in `texts` are left out, their tokens are given."""
    specials = special_tokens()
    numbers, number_merges = _number_tokens()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    wanted = VOCABULARY - len(alphabet) - len(numbers) - len(specials)
    merges = _learn((re.sub(r"\d+", " ", text) for text in texts), wanted)
    words = alphabet + numbers + [left + right for left, right in merges]
    tokenizer = _byte_level(
        models.BPE(
            vocab={word: place for place, word in enumerate(words)},
            merges=number_merges + merges,
            ignore_merges=True,  # as in Llama-3: a word that is a token is taken whole
        )
    )
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in specials])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes the three files from which `AutoTokenizer` and the converter read everything."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True) + "\n")
    write_text(folder / "chat_template.jinja", CHAT_TEMPLATE)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BEGIN_OF_TEXT,
            "eos_token": END_OF_TURN,
            "pad_token": PAD,
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": LONGEST,
            "clean_up_tokenization_spaces": False,
        },
    )


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of an earlier build."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise BacktalkError(f"{folder} holds no tokenizer.json, so no miniature: give the folder of one.")
    return Tokenizer.from_file(str(path))


def id_of(tokenizer: Tokenizer, name: str) -> int:
    """The id of a token that must be there."""
    found = tokenizer.token_to_id(name)
    if found is None:
        raise BacktalkError(f"The tokenizer has no token {name}. Build the miniature again.")
    return found


@dataclass(frozen=True)
class Row:
    """A dialogue as tokens; `learn[i]` says whether token i is one that the model must predict."""

    ids: list[int]
    learn: list[bool]


class RowWriter:
    """Dialogue -> Row, token for token what the chat template gives; content is always plain text."""

    def __init__(self, tokenizer: Tokenizer):
        self._plain = Tokenizer.from_str(tokenizer.to_str())
        self._plain.encode_special_tokens = True  # control tokens come from here alone, never from a content
        self._begin = id_of(tokenizer, BEGIN_OF_TEXT)
        self._end_of_turn = id_of(tokenizer, END_OF_TURN)
        self._headers = {role: self._header(role) for role in ("system", "user", "assistant")}

    def rows(self, dialogues: Sequence[Sequence[dict[str, str]]]) -> list[Row]:
        """One row for each dialogue; the model learns its assistant turns, their end included."""
        contents = [message["content"].strip() for messages in dialogues for message in messages]
        encoded = iter(self._plain.encode_batch_fast(contents, add_special_tokens=False))
        return [self._row(messages, [next(encoded).ids for _ in messages]) for messages in dialogues]

    def _row(self, messages: Sequence[dict[str, str]], contents: list[list[int]]) -> Row:
        ids, learn = [self._begin], [False]
        for message, content in zip(messages, contents, strict=True):
            header = self._headers[message["role"]]
            ids += [*header, *content, self._end_of_turn]
            learn += [False] * len(header) + [message["role"] == "assistant"] * (len(content) + 1)
        return Row(ids, learn)

    def _header(self, role: str) -> list[int]:
        start, end = id_of(self._plain, START_HEADER), id_of(self._plain, END_HEADER)
        return [start, *self._plain.encode(role).ids, end, *self._plain.encode("\n\n").ids]


def _byte_level(model: models.Model) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKENIZER), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _number_tokens() -> tuple[list[str], list[tuple[str, str]]]:
    """The tokens 00-99 and 000-999 and one merge for each.

    A BPE applies its earliest merge first, so a three-digit number is joined at whichever of its two pairs
    is the smaller: with that rule every number is reached by merges alone, also where whole words are not
    looked up.
    """
    pairs = [f"{number:02}" for number in range(100)]
    triples = [f"{number:03}" for number in range(1000)]
    merges = [(pair[0], pair[1]) for pair in pairs]
    merges += [(t[:2], t[2]) if t[:2] <= t[1:] else (t[0], t[1:]) for t in triples]
    return pairs + triples, merges


def _learn(texts: Iterable[str], wanted: int) -> list[tuple[str, str]]:
    """The first `wanted` merges of the texts, most useful first."""
    bytes_known = sorted(pre_tokenizers.ByteLevel.alphabet())
    scratch = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=len(bytes_known) + wanted, initial_alphabet=bytes_known, show_progress=False
    )
    scratch.train_from_iterator(texts, trainer)
    merges = json.loads(scratch.to_str())["model"]["merges"]
    if len(merges) < wanted:
        raise BacktalkError(
            f"The texts give {len(merges)} merges and {wanted} are wanted: train the tokenizer on more."
        )
    return [(left, right) for left, right in merges]
