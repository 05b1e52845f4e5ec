"""How much of a text is in a language, told by the small words that every sentence needs.

    language_share("Where is my order? Danke!", "en")

A text is looked at sentence by sentence. A sentence is in the language with most of its small words; one
without any, such as a list of names or a line of code, says nothing and is left out of the count, unless its
script is another.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from backtalk.config import read_yaml

SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*")
WORD = re.compile(r"[^\W\d_]+")
LATIN = re.compile(r"[A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff]")


def _read(path: Path) -> dict[str, frozenset[str]]:
    return {name: frozenset(words.split()) for name, words in read_yaml(path).items()}


LANGUAGES: Mapping[str, frozenset[str]] = _read(Path(__file__).resolve().parent / "languages.yaml")


def language_share(text: str, language: str) -> float:
    """The share of the letters that stand in sentences of `language`; 1 where no sentence tells."""
    wanted = told = 0
    for sentence in SENTENCE.findall(text):
        letters = sum(map(len, words := WORD.findall(sentence)))
        spoken = _languages(words)
        if spoken is not None:
            told += letters
            wanted += letters if language in spoken else 0
    return wanted / told if told else 1.0


def _languages(words: list[str]) -> set[str] | None:
    """The languages that a sentence may be in; None where it does not tell."""
    letters = "".join(words)
    if len(LATIN.findall(letters)) < len(letters) / 2:
        return set()  # another script: none of ours
    lowered = [word.lower() for word in words]
    count = {name: sum(word in small for word in lowered) for name, small in LANGUAGES.items()}
    most = max(count.values())
    return {name for name, number in count.items() if number == most} if most else None
