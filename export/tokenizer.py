"""The tokenizer of a model folder, written into a GGUF: tokens, merges, special ids, chat template.

Byte-level BPE from `tokenizer.json`. llama.cpp splits text by a rule that it knows by name; the name is
found by the rule itself (its regular expression), never by a hash of the tokenizer, which any added token
would change.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from backtalk.errors import ModelError
from backtalk.files import read_json

# Regular expression that splits the text -> llama.cpp's name for it.
PRE_TOKENIZERS = {
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "llama-bpe",
}

Json = Mapping[str, Any]


def write_tokenizer(writer: gguf.GGUFWriter, model_dir: Path, vocabulary: int) -> None:
    """Writes the tokenizer; ids from the tokenizer's end to `vocabulary` become unused tokens."""
    path = model_dir / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{model_dir} holds no tokenizer.json. Save the tokenizer beside the weights.")
    tokenizer = read_json(path)
    config = _optional_json(model_dir / "tokenizer_config.json")
    if tokenizer["model"].get("type") != "BPE":
        raise ModelError(
            f"{path} is a {tokenizer['model'].get('type')} tokenizer; only byte-level BPE is written here."
        )
    tokens, types = _tokens(tokenizer, vocabulary)
    template = _chat_template(model_dir, config)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(tokenizer, path))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([_merge(pair) for pair in tokenizer["model"]["merges"]])
    _write_special_ids(writer, config, tokens)
    writer.add_add_bos_token(_adds_begin(tokenizer, config) and "bos_token" not in template)
    if template:
        writer.add_chat_template(template)


def _tokens(tokenizer: Json, vocabulary: int) -> tuple[list[str], list[int]]:
    """Every id's text and type, from 0 to `vocabulary`."""
    known = {place: word for word, place in tokenizer["model"]["vocab"].items()}
    types = dict.fromkeys(known, gguf.TokenType.NORMAL)
    for added in tokenizer.get("added_tokens", []):
        known[added["id"]] = added["content"]
        types[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    if max(known) >= vocabulary:
        raise ModelError(
            f"The tokenizer has ids up to {max(known)} and the model only {vocabulary} rows of embeddings. "
            "Resize the embeddings, or use the tokenizer that the model was trained with."
        )
    tokens = [known.get(place, f"[PAD{place}]") for place in range(vocabulary)]
    return tokens, [types.get(place, gguf.TokenType.UNUSED) for place in range(vocabulary)]


def _merge(pair: str | list[str]) -> str:
    """`tokenizer.json` writes a merge as one string or, since 2024, as a pair; a GGUF wants the string."""
    return pair if isinstance(pair, str) else " ".join(pair)


def _pre_tokenizer(tokenizer: Json, path: Path) -> str:
    part = tokenizer.get("pre_tokenizer") or {}
    steps = part.get("pretokenizers", [part])
    splits = [step["pattern"].get("Regex", "") for step in steps if step.get("type") == "Split"]
    for pattern in splits:
        if pattern in PRE_TOKENIZERS:
            return PRE_TOKENIZERS[pattern]
    raise ModelError(
        f"{path} splits text by a rule that has no name here ({splits or 'none'}), and a wrong one "
        "would spoil every answer silently. Add the rule and llama.cpp's name for it to PRE_TOKENIZERS."
    )


def _chat_template(model_dir: Path, config: Json) -> str:
    path = model_dir / "chat_template.jinja"
    return path.read_text(encoding="utf-8") if path.is_file() else config.get("chat_template") or ""


def _write_special_ids(writer: gguf.GGUFWriter, config: Json, tokens: list[str]) -> None:
    places = {word: place for place, word in enumerate(tokens)}
    wanted = (
        (writer.add_bos_token_id, _text(config.get("bos_token"))),
        (writer.add_eos_token_id, _text(config.get("eos_token"))),
        (writer.add_pad_token_id, _text(config.get("pad_token"))),
        (writer.add_eot_token_id, "<|eot_id|>"),
        (writer.add_eom_token_id, "<|eom_id|>"),
    )
    for add, word in wanted:
        if word in places:
            add(places[word])


def _adds_begin(tokenizer: Json, config: Json) -> bool:
    """True where encoding a text puts the begin-of-text token before it."""
    begin = _text(config.get("bos_token"))
    return bool(begin) and begin in str(tokenizer.get("post_processor") or "")


def _text(token: Any) -> str:
    """A special token is written as text or as an object with its text."""
    return token.get("content", "") if isinstance(token, Mapping) else token or ""


def _optional_json(path: Path) -> Json:
    return read_json(path) if path.is_file() else {}
