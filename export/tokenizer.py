"""The tokenizer of a model folder, written into a GGUF: tokens, merges or scores, special ids, chat template.

Two families are written: byte-level BPE (Llama 3, GPT-2; export/byte_level.py) and SentencePiece's BPE
(Llama 2, TinyLlama; export/sentence_pieces.py), from `tokenizer.json` or, where there is none, from
SentencePiece's own `tokenizer.model`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from backtalk.errors import ModelError
from backtalk.files import read_json
from export import byte_level, sentence_pieces
from export.vocabulary import Json, Vocabulary, read_vocabulary


def write_tokenizer(writer: gguf.GGUFWriter, model_dir: Path, size: int, model: Json | None = None) -> None:
    """Writes the tokenizer; ids from the tokenizer's end to `size` become unused tokens.

    `model` is config.json, whose special ids stand in where the tokenizer names none. Raises ModelError.
    """
    config = _optional_json(model_dir / "tokenizer_config.json")
    template = _chat_template(model_dir, config)
    vocabulary, adds_begin = _write_family(writer, model_dir, config, size)
    special = _special_ids(model_dir, config, model or {}, vocabulary)
    for name, place in special.items():
        getattr(writer, f"add_{name}_token_id")(place)
    # A template that writes the begin-of-text token itself must not get a second one.
    writer.add_add_bos_token(adds_begin and "bos" in special and "bos_token" not in template)
    if template:
        writer.add_chat_template(template)


def _write_family(
    writer: gguf.GGUFWriter, model_dir: Path, config: Json, size: int
) -> tuple[Vocabulary, bool]:
    """Tokens in their family's way, and whether encoding puts the begin-of-text token before a text."""
    path, pieces = model_dir / "tokenizer.json", model_dir / "tokenizer.model"
    if path.is_file():
        tokenizer = _checked_json(path)
        family = sentence_pieces if tokenizer["model"].get("byte_fallback") else byte_level
        vocabulary = read_vocabulary(path, tokenizer, size)
        family.write(writer, path, tokenizer, vocabulary)
        return vocabulary, _adds_begin(tokenizer, config)
    if pieces.is_file():
        return sentence_pieces.write_model_file(writer, pieces, config, size), config.get(
            "add_bos_token", True
        )
    raise ModelError(
        f"{model_dir} holds no tokenizer.json and no tokenizer.model. Save the tokenizer beside the weights."
    )


def _checked_json(path: Path) -> Json:
    tokenizer = read_json(path)
    model = tokenizer.get("model") if isinstance(tokenizer, Mapping) else None
    kind = model.get("type") if isinstance(model, Mapping) else None
    if kind != "BPE":
        raise ModelError(f"{path} is a {kind} tokenizer; byte-level BPE or SentencePiece's BPE was wanted.")
    return tokenizer


def _chat_template(model_dir: Path, config: Json) -> str:
    path = model_dir / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = config.get("chat_template") or ""
    if isinstance(template, list):  # several by name, as transformers 4 wrote them
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default") or ""
    return template


def _special_ids(model_dir: Path, config: Json, model: Json, vocabulary: Vocabulary) -> dict[str, int]:
    """What llama.cpp calls a special token -> its id."""
    older = _optional_json(model_dir / "special_tokens_map.json")
    words = {
        name: _text(config.get(f"{name}_token")) or _text(older.get(f"{name}_token"))
        for name in ("bos", "eos", "unk", "pad")
    }
    words |= {"eot": "<|eot_id|>", "eom": "<|eom_id|>"}
    places = {word: place for place, word in enumerate(vocabulary.tokens)}
    ids = {name: places[word] for name, word in words.items() if word in places}
    for name in ("bos", "eos", "pad"):
        stated = model.get(f"{name}_token_id")
        stated = stated[0] if isinstance(stated, list) and stated else stated
        if name not in ids and type(stated) is int and 0 <= stated < len(places):
            ids[name] = stated
    return ids


def _adds_begin(tokenizer: Json, config: Json) -> bool:
    """True where encoding a text puts the begin-of-text token before it."""
    begin = _text(config.get("bos_token"))
    return bool(begin) and begin in str(tokenizer.get("post_processor") or "")


def _text(token: Any) -> str:
    """A special token is written as text or as an object with its text."""
    token = token.get("content") if isinstance(token, Mapping) else token
    return token if isinstance(token, str) else ""


def _optional_json(path: Path) -> Json:
    value = read_json(path) if path.is_file() else {}
    return value if isinstance(value, Mapping) else {}
