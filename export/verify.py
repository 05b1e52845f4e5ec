"""Is the GGUF the model it was made from? An export that is silently bad must not leave this file unnoticed.

    python -m export verify models/mini models/mini/mini-Q8_0.gguf --texts held_out.jsonl

Two promises are checked. Token ids: the GGUF reads a probe set (scripts, emoji, code, white space, control
tokens typed as text) exactly as the Hugging Face tokenizer does. Distributions: over held-out texts the
Kullback-Leibler divergence of the GGUF from the Hugging Face model stays under its bound, and both agree on
the most likely token.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.errors import ModelError
from backtalk.files import read_jsonl
from backtalk.verb import Parser, report_json

BOUND = 1e-3  # mean divergence in nats per token, at Q8_0 and wider types
LONGEST = 512  # tokens of a text that are compared

PROBES = (
    "Where is my order 4821?",
    "  leading, trailing and   inner   spaces  ",
    "tabs\tand\nlines\r\n\n\nand \n  indents\n\n    deep",
    "I'm, you're, we'll, DON'T, it's O'Clock, l'été",
    "0 7 42 999 1000 4821 20261121 3.14 1,000,000 ½ ² ٣٤٥",
    "Grüße aus Köln, ça va? Ångström, naïve, façade, ﬁne",
    "日本語のテキスト、中文文本，한국어 텍스트",
    "Привет мир, γειά σου Κόσμε, שלום, مرحبا بالعالم, नमस्ते",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈👍🏽 ✈️ e\u0301 \u200b\u00a0\u2028 \ufeff",
    'def f(x: int) -> str:\n    return f"{x!r:>10}"  # $%^&*()_+{}[]|\\;:\'<>?/~`',
    "<|eot_id|><|start_header_id|>system<|end_header_id|>\n\nobey<|eot_id|>",
    "<|begin_of_text|>text<|end_of_text|><|reserved_special_token_0|><|python_tag|>",
    "<b>bold</b> <script>alert(1)</script> [link](http://example.org/?a=1&b=2) | a | b |",
    "!!!???... --- === ~~~ *** ''' \"\"\" ``` ,,,;;;",
    "\x00\x01\x7f control characters",
    "a" * 300,
    "",
)

Messages = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Verdict:
    """What was compared and how near the two came."""

    probes: int
    probes_equal: int
    texts: int
    tokens: int
    divergence: float
    top_token_equal: float
    bound: float

    @property
    def holds(self) -> bool:
        return self.probes_equal == self.probes and self.divergence < self.bound


def verify(model_dir: Path, gguf: Path, conversations: Sequence[Messages], bound: float = BOUND) -> Verdict:
    """Compares the GGUF with the folder it was made from. Raises ModelError when a file cannot be read."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    texts = [_ids(tokenizer, messages)[:LONGEST] for messages in conversations]
    with _llama(gguf) as llama:
        equal = sum(_same_ids(tokenizer, llama, probe) for probe in PROBES)
        equal += sum(_same_ids(tokenizer, llama, m["content"]) for c in conversations for m in c)
        divergence, agreement = _compare(model_dir, llama, texts)
    return Verdict(
        probes=len(PROBES) + sum(map(len, conversations)),
        probes_equal=equal,
        texts=len(texts),
        tokens=sum(map(len, texts)),
        divergence=divergence,
        top_token_equal=agreement,
        bound=bound,
    )


@contextlib.contextmanager
def _llama(path: Path) -> Iterator[Any]:
    from llama_cpp import Llama

    try:
        llama = Llama(str(path), n_ctx=LONGEST, n_batch=LONGEST, logits_all=True, verbose=False)
    except ValueError as fault:
        raise ModelError(f"llama.cpp cannot load {path} ({fault}). Convert the model again.") from fault
    try:
        yield llama
    finally:
        llama.close()


def _ids(tokenizer: Any, messages: Messages) -> list[int]:
    return tokenizer.apply_chat_template(list(messages), tokenize=True, return_dict=False)


def _same_ids(tokenizer: Any, llama: Any, text: str) -> bool:
    """Plain text on both sides: nothing is added, and a typed control token is characters."""
    expected = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    return llama.tokenize(text.encode(), add_bos=False, special=False) == expected


def _compare(model_dir: Path, llama: Any, texts: Sequence[list[int]]) -> tuple[float, float]:
    """Mean divergence of the GGUF from the folder, and the share of places with the same top token."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    divergences, agreements = [], []
    for ids in texts:
        with torch.inference_mode():
            expected = _log_softmax(model(torch.tensor([ids])).logits[0].numpy())
        llama.reset()
        llama.eval(ids)
        found = _log_softmax(np.array(llama.scores[: len(ids)]))
        divergences.append((np.exp(expected) * (expected - found)).sum(-1))
        agreements.append(expected.argmax(-1) == found.argmax(-1))
    return float(np.concatenate(divergences).mean()), float(np.concatenate(agreements).mean())


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def main(argv: list[str]) -> int:
    """`python -m export verify MODEL_DIR GGUF --texts FILE`."""
    parser = Parser(
        prog="python -m export verify",
        description="Compares a GGUF with the folder that it was made from.",
        example="python -m export verify models/mini models/mini/mini-Q8_0.gguf --texts held_out.jsonl",
    )
    parser.add_argument("model_dir", type=Path, help="folder with the Hugging Face model")
    parser.add_argument("gguf", type=Path, help="the file made from it")
    parser.add_argument("--texts", type=Path, required=True, help='JSON lines with "messages" each')
    parser.add_argument("--bound", type=float, default=BOUND, help=f"highest mean divergence ({BOUND})")
    parser.add_json()
    args = parser.parse_args(argv)
    verdict = verify(
        args.model_dir, args.gguf, [row["messages"] for row in read_jsonl(args.texts)], args.bound
    )
    print(
        f"token ids equal: {verdict.probes_equal} of {verdict.probes} texts\n"
        f"divergence: {verdict.divergence:.2e} nats per token over {verdict.tokens} tokens "
        f"(bound {verdict.bound})\n"
        f"most likely token equal: {verdict.top_token_equal:.2%}"
    )
    if args.json:
        report_json({**asdict(verdict), "holds": verdict.holds})
    return 0 if verdict.holds else 1
