"""Byte-level BPE -> GGUF.

llama.cpp splits text by a rule that it knows by name. The name is found by the rule itself (the steps of
`tokenizer.json`), never by a hash of the tokenizer, which any added token would change.
"""

from pathlib import Path
from typing import Any

import gguf

from backtalk.errors import ModelError
from export.vocabulary import Json, Vocabulary

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

Rule = tuple[tuple[str, ...], bool]
"""The steps that split a text, and whether a word that is a token is taken whole (`ignore_merges`)."""

PRE_TOKENIZERS: dict[Rule, str] = {
    ((f"split {LLAMA3}", "bytes"), True): "llama-bpe",
    ((f"split {LLAMA3}", "bytes"), False): "smaug-bpe",  # the same rule; its words are always merged
    (("bytes by words",), False): "gpt-2",
    (("single digits", "bytes by words"), False): "smollm",
}

UNWRITTEN = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")


def write(writer: gguf.GGUFWriter, path: Path, tokenizer: Json, vocabulary: Vocabulary) -> None:
    """Writes tokens, merges and the rule's name. Raises ModelError for a rule that has no name here."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_rule_name(path, tokenizer))
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges([_merge(path, pair) for pair in tokenizer["model"].get("merges") or []])


def _rule_name(path: Path, tokenizer: Json) -> str:
    model = tokenizer["model"]
    odd = [name for name in UNWRITTEN if model.get(name)]
    if tokenizer.get("normalizer"):
        odd.append(f"the normalizer {tokenizer['normalizer'].get('type')}")
    if odd:
        raise ModelError(
            f"{path} uses {odd[0]}, which llama.cpp does not know for byte-level BPE, and texts would be "
            "read differently. This model cannot be served as a GGUF here."
        )
    part = tokenizer.get("pre_tokenizer") or {}
    steps = tuple(_step(step) for step in part.get("pretokenizers", [part]))
    rule = (steps, bool(model.get("ignore_merges")))
    if rule not in PRE_TOKENIZERS:
        raise ModelError(
            f"{path} splits text by a rule that has no name here ({' then '.join(steps)}), and a wrong one "
            "would spoil every answer silently. Add the rule and llama.cpp's name for it to PRE_TOKENIZERS."
        )
    return PRE_TOKENIZERS[rule]


def _step(step: Json) -> str:
    """One step in words; what is not understood keeps its whole definition and so matches nothing."""
    kind = step.get("type")
    if kind == "ByteLevel" and not step.get("add_prefix_space"):
        return "bytes by words" if step.get("use_regex", True) else "bytes"
    if kind == "Digits" and step.get("individual_digits"):
        return "single digits"
    if kind == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
        return f"split {step['pattern'].get('Regex', step['pattern'])}"
    return str(dict(step)) if step else "no step"


def _merge(path: Path, pair: Any) -> str:
    """`tokenizer.json` writes a merge as one string or, since 2024, as a pair; a GGUF wants the string."""
    words = pair.split(" ") if isinstance(pair, str) else pair
    if not isinstance(words, list) or len(words) != 2 or any(" " in word for word in words):
        raise ModelError(f"{path} holds the merge {pair!r}; two words were wanted. Fetch or save it again.")
    return " ".join(words)
