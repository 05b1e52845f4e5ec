"""ROUGE-1, ROUGE-2 and ROUGE-L as rouge_score computes them, with its stemmer: F1, 0 to 1.

Other packages of that name give other numbers (Grusky, "Rogue Scores", ACL 2023), so the one that was used
and its version stand in every card. It reads ASCII letters and digits only; in other scripts every score
is 0, and bits per byte are what to look at.
"""

from functools import cache
from typing import Any

NAMES = ("rouge1", "rouge2", "rougeL")


def overlap(reference: str, answer: str) -> dict[str, float]:
    """The F1 of each of NAMES."""
    scores = _scorer().score(reference, answer)
    return {name: scores[name].fmeasure for name in NAMES}


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(NAMES, use_stemmer=True)
