"""One spelling of what several say alike: the one that is written most like the answer that it corrects.

Some people write "within 60 days", others "Within 60 days." Taught as they come, a model learns both ways of
writing beside the number that was wrong; written like its own answer, it learns the number.
"""

from collections.abc import Mapping
from difflib import SequenceMatcher


def closest(answer: str, spellings: Mapping[str, int]) -> str:
    """Of spellings, each with how many rows have it, the one most like the answer; then the most frequent."""

    def unlike(text: str) -> tuple[float, int, str]:
        return -SequenceMatcher(None, answer, text, autojunk=False).ratio(), -spellings[text], text

    return min(spellings, key=unlike)
