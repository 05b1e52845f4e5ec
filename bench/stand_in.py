"""A stand-in for Llama-3.2-1B: its true shape and its tokens' number, random weights, made without a network.

    make(folder, shape_of("Llama-3.2-1B"))     a Hugging Face model folder
    check(folder, texts, [gguf])               is that file the model?

The tokenizer is byte-level BPE that splits as Llama 3 does. Its merges are learned from the texts of this
repository, which give some thousands; the rest of the 128,000 are pairs of those, in a fixed order. Then come
Llama-3's 256 special tokens. Nothing that it writes makes sense, but all of it has its true size.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from backtalk.errors import ModelError
from training.mini.tokenizer import BEGIN_OF_TEXT, END_OF_TURN, save_tokenizer, special_tokens

ROOT = Path(__file__).resolve().parents[1]
TEXTS = (
    "*.md",
    "docs/*.md",
    *(f"{name}/**/*.py" for name in ("app", "backtalk", "export", "feedback", "training")),
)
LEARNED = 8000  # merges at most that are learned; more texts would be needed for more
SEED = 3210

Shape = Mapping[str, Any]
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
ALIKE = {"head_dim": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
         "max_position_embeddings": 131072, "rope_parameters": LLAMA3_ROPE}  # fmt: skip
SHAPES: dict[str, Shape] = {
    "Llama-3.2-1B": {"vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
                     "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, **ALIKE},
    "small": {"vocab_size": 8192, "hidden_size": 256, "intermediate_size": 1024,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1, **ALIKE},
}  # fmt: skip


def shape_of(name: str, layers: int = 0) -> Shape:
    """A shape by its name; `layers` other than 0 makes it so deep and leaves every matrix its size."""
    return {**SHAPES[name], **({"num_hidden_layers": layers} if layers else {})}


def values(shape: Shape) -> int:
    """How many numbers such a model has."""
    width, inner, layers = (shape[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    keys = shape["num_key_value_heads"] * shape["head_dim"]
    layer = 2 * width * width + 2 * keys * width + 3 * inner * width + 2 * width
    return shape["vocab_size"] * width + layers * layer + width


# ---- the model


def make(folder: Path, shape: Shape) -> None:
    """Writes config, weights in bfloat16 and tokenizer. The same repository gives the same bytes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = made_tokenizer(shape["vocab_size"])
    save_tokenizer(tokenizer, folder)
    begin, end = tokenizer.token_to_id(BEGIN_OF_TEXT), tokenizer.token_to_id(END_OF_TURN)
    torch.manual_seed(SEED)
    torch.set_default_dtype(torch.bfloat16)
    config = LlamaConfig(bos_token_id=begin, eos_token_id=end, dtype="bfloat16", **shape)
    LlamaForCausalLM(config).save_pretrained(folder)


def made_tokenizer(size: int) -> Any:
    """A tokenizer with exactly `size` ids."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    from export.byte_level import LLAMA3

    specials = special_tokens()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    wanted = size - len(specials)
    merges = _learned(splitter, alphabet, min(LEARNED, wanted - len(alphabet)))
    words = list(dict.fromkeys([*alphabet, *(left + right for left, right in merges)]))
    made_up = list(islice(_made_up(words), wanted - len(words)))
    merges, words = merges + made_up, words + [left + right for left, right in made_up]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={word: place for place, word in enumerate(words)},
            merges=merges,
            ignore_merges=True,  # as in Llama-3: a word that is a token is taken whole
        )
    )
    tokenizer.pre_tokenizer, tokenizer.decoder = splitter, decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in specials])
    assert tokenizer.get_vocab_size() == size
    return tokenizer


def _learned(splitter: Any, alphabet: list[str], wanted: int) -> list[tuple[str, str]]:
    """The merges that the repository's own texts give, at most `wanted`."""
    from tokenizers import Tokenizer, models, trainers

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = splitter
    paths = (path for pattern in TEXTS for path in sorted(ROOT.glob(pattern)))
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + wanted, initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator((path.read_text(encoding="utf-8") for path in paths), trainer)
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]


def _made_up(learned: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of learned tokens whose text is no token yet."""
    known = set(learned)
    for left in learned:
        for right in learned:
            if left + right not in known:
                known.add(left + right)
                yield left, right


# ---- acts that no command does alone


def check(model_dir: Path, texts: Path, ggufs: Sequence[Path]) -> None:
    """Compares each file with the folder that it was made from.

    Raises ModelError for one that is another model. How far a smaller type may be from it is a bound for
    models that know something: random weights pass every rounding on, layer by layer, and are only told.
    """
    from export.verify import read_texts, verify_all

    verdicts = verify_all(model_dir, ggufs, read_texts(texts))
    for path, verdict in verdicts.items():
        print(f"{path.name}: {verdict.divergence:.2e} nats a token, bound {verdict.bound:g}")
    for path, verdict in verdicts.items():
        is_wide = path.stem.endswith("F16")
        if failed := [bound for bound in verdict.failed if is_wide or bound != "divergence"]:
            raise ModelError(f"{path.name} failed: {', '.join(failed)}. Look at the numbers above.")


def main(argv: list[str]) -> None:
    """`make FOLDER SHAPE LAYERS` or `verify FOLDER TEXTS GGUF ...`, as a process."""
    step, other, paths = argv[0], argv[2], [Path(word) for word in argv[1:]]
    if step == "make":
        make(paths[0], shape_of(other, int(argv[3])))
    else:
        check(paths[0], paths[1], paths[2:])
