"""How near the GGUF comes to the Hugging Face model: its distributions over held-out texts.

The model is run once for each text, and every GGUF is compared with it there, so that its logits (a quarter
of a gigabyte for 500 tokens of Llama 3) need no place on disk.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FAR = 1e9  # what a card says where no number came out: a broken file must fail, not vanish
ROWS = 64  # places whose distributions are held in float64 at once


@dataclass(frozen=True)
class Fidelity:
    """Over `tokens` places: mean Kullback-Leibler divergence of the GGUF from the model in nats per token,
    share of places with the same most likely token, and the perplexity of either.
    """

    tokens: int
    divergence: float
    top_token_equal: float
    reversal: float
    """Nats by which the model prefers its best token to the file's, where they differ most; 0: nowhere."""
    perplexity: float
    model_perplexity: float


@dataclass
class Sums:
    """What is added up on the way."""

    places: int = 0
    divergence: float = 0.0
    equal: int = 0
    reversal: float = 0.0
    predicted: int = 0
    surprise: float = 0.0
    model_surprise: float = 0.0

    def add(self, expected: np.ndarray, found: np.ndarray, following: np.ndarray) -> None:
        """Log-probabilities of both, (places, vocabulary), and the tokens that followed (maybe one less)."""
        self.places += len(expected)
        self.divergence += float((np.exp(expected) * (expected - found)).sum())
        best, chosen = expected.argmax(-1), found.argmax(-1)
        self.equal += int((best == chosen).sum())
        every = np.arange(len(expected))
        self.reversal = max(self.reversal, float((expected[every, best] - expected[every, chosen]).max()))
        places = np.arange(len(following))
        self.predicted += len(following)
        self.surprise -= float(found[places, following].sum())
        self.model_surprise -= float(expected[places, following].sum())

    def means(self) -> Fidelity:
        predicted = max(self.predicted, 1)
        return Fidelity(
            self.places,
            _finite(self.divergence / self.places),
            self.equal / self.places,
            _finite(self.reversal),
            _finite(math.exp(min(self.surprise / predicted, 700))),
            _finite(math.exp(min(self.model_surprise / predicted, 700))),
        )


def compare(
    model_dir: Path,
    llamas: Mapping[Path, Any],
    texts: Sequence[Sequence[int]],
    report: Callable[[str], None] = lambda _: None,
) -> dict[Path, Fidelity]:
    """The fidelity of each of `llamas` (`llama_cpp.Llama` with all logits) to the model in `model_dir`."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would be drawn over ours
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    sums = {path: Sums() for path in llamas}
    for number, ids in enumerate(texts, start=1):
        with torch.inference_mode():
            expected = model(torch.tensor([list(ids)])).logits[0].numpy()
        for path, llama in llamas.items():
            llama.reset()
            llama.eval(list(ids))
            _add(sums[path], expected, llama.scores[: len(ids)], np.asarray(ids[1:]))
        report(f"comparing: text {number} of {len(texts)}")
    return {path: found.means() for path, found in sums.items()}


def _add(sums: Sums, expected: np.ndarray, found: np.ndarray, following: np.ndarray) -> None:
    for start in range(0, len(expected), ROWS):
        rows = slice(start, start + ROWS)
        sums.add(_log_softmax(expected[rows]), _log_softmax(found[rows]), following[rows])


def _finite(value: float) -> float:
    return min(value, FAR) if math.isfinite(value) else FAR


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
