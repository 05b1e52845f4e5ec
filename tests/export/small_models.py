"""Model folders small enough to make for a test: real tokenizers trained on the spot, random weights.

Tokenizers need no torch; `weigh` writes weights for a config.json by the converter's own list of shapes.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from export.byte_level import LLAMA3
from export.sentence_pieces import SPACE

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}"
    "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
CORPUS = [
    "where is my order? the order number is on the page, and the parcel is on its way to you today",
    "Grüße aus Köln, the naïve façade; tents, boots and warm jackets for the rain and the snow",
    "def parcel(order: int) -> str:\n    return f'{order}'\n\n  thanks!!! you're welcome, I'm here 12 345",
] * 3


def llama3_tokenizer(size: int = 500, *, ignore_merges: bool = True) -> Tokenizer:
    """Byte-level BPE that splits as Llama 3 does."""
    steps = [
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return _byte_level(pre_tokenizers.Sequence(steps), size, ignore_merges)


def gpt2_tokenizer(size: int = 500) -> Tokenizer:
    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), size)


def smollm_tokenizer(size: int = 500) -> Tokenizer:
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    return _byte_level(pre_tokenizers.Sequence(steps), size)


def _byte_level(splitter: Any, size: int, ignore_merges: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer, tokenizer.decoder = splitter, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - 2, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in ("<|begin|>", "<|endoftext|>")])
    return tokenizer


def sentence_pieces(size: int = 500) -> list[tuple[str, float, int]]:
    """Text, score and SentencePiece type of each piece, in the order of Llama 2."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    learner.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=size - 259, show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    merged = ["".join(pair) for pair in learned["merges"]] + [SPACE * 2, SPACE * 4]
    letters = [word for word in learned["vocab"] if word not in merged]
    controls: list[tuple[str, float, int]] = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    spelled = [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    ordered = list(dict.fromkeys(merged)) + letters
    return controls + spelled + [(word, -float(place), 1) for place, word in enumerate(ordered)]


def llama2_tokenizer(size: int = 500) -> Tokenizer:
    """SentencePiece's BPE as `tokenizer.json` holds it: every split of a piece is a merge."""
    pieces = sentence_pieces(size)
    vocabulary = {word: place for place, (word, _, _) in enumerate(pieces)}
    merges = [
        (word[:place], word[place:])
        for word, _, kind in pieces
        for place in range(1, len(word))
        if kind == 1 and word[:place] in vocabulary and word[place:] in vocabulary
    ]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback()])
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in ("<unk>", "<s>", "</s>")])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes what `AutoTokenizer` and the converter read."""
    folder.mkdir(parents=True, exist_ok=True)
    begin, end = ("<s>", "</s>") if tokenizer.token_to_id("<s>") else ("<|begin|>", "<|endoftext|>")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    write(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": begin, "eos_token": end,
        "clean_up_tokenization_spaces": False,
    })  # fmt: skip


def llama_config(words: int, **changes: Any) -> dict[str, Any]:
    """config.json of a Llama with three layers."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": words, "hidden_size": 64,
        "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "hidden_act": "silu", "max_position_embeddings": 1024, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        **changes,
    }  # fmt: skip


def small_folder(folder: Path, **changes: Any) -> Path:
    """A whole Llama folder made without torch, in milliseconds."""
    tokenizer = llama3_tokenizer(300)
    save_tokenizer(tokenizer, folder)
    config = llama_config(tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=1, **changes)
    write(folder / "config.json", config)
    save_file(weights(config), folder / "model.safetensors")
    return folder


def weights(config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Random float32 weights of a Llama by their Hugging Face names."""
    random = np.random.default_rng(0)
    width, inner, words = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    size = width // config["num_attention_heads"]
    rows = {
        "self_attn.q_proj": (width, width), "self_attn.o_proj": (width, width),
        "self_attn.k_proj": (size * config["num_key_value_heads"], width),
        "self_attn.v_proj": (size * config["num_key_value_heads"], width),
        "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner),
        "input_layernorm": (width,), "post_attention_layernorm": (width,),
    }  # fmt: skip
    shapes = {"model.embed_tokens.weight": (words, width), "model.norm.weight": (width,)}
    for layer in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in rows.items()}
    return {
        name: (random.normal(0, 0.1, shape) + (len(shape) == 1)).astype(np.float32)
        for name, shape in shapes.items()
    }


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1))


def model_file(pieces: Iterable[tuple[str, float, int]], kind: int = 2) -> bytes:
    """SentencePiece's `tokenizer.model` with these pieces; `kind` 2 is BPE."""
    data = b""
    for text, score, type in pieces:
        piece = _field(1, text.encode()) + b"\x15" + np.float32(score).tobytes() + bytes([0x18, type])
        data += _field(1, piece)
    return data + _field(2, bytes([0x18, kind])) + _field(3, bytes([0x18, 1]))


def _field(number: int, value: bytes) -> bytes:
    length, rest = b"", len(value)
    while rest > 0x7F:
        length, rest = length + bytes([rest & 0x7F | 0x80]), rest >> 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + value
