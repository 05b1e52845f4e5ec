"""How visitors really write: any case, few marks, typos, other words for the same thing, a greeting in front.

Two halves. `reword` changes a skeleton before its slots are filled (synonyms, dropped words, swapped
clauses), so that the caller can still see that it did not become a held-out one. `write` fills the slots
and adds what a keyboard does.

Promise: what the answer has to copy (numbers, names, codes) is written as it is, never misspelt.
"""

import re
from functools import cache
from random import Random

import yaml

from training.mini.places import DATA

TYPO = 0.12  # of the sentences have one
SLOT_TYPO = 0.04  # of the countries, products ... have one, unless the answer must copy them
REWORDED = 0.3
GREETED = 0.13
CLOSED = 0.07
KEYWORDS = 0.06  # lose stop words, as in a search box

_SLOT = re.compile(r"\{(\w+)\}")
_PIECES = re.compile(r"(\{\w+\})")
_QUESTION = re.compile(
    r"\b(what|whats|how|when|where|who|why|which|whose|any idea|any news)\b"
    r"|^(\W*\w+[,:!]\s)?"
    r"(is|are|do|does|did|has|have|can|could|will|would|may|should|must|am|was|were|got|any|and|or)\b"
)
_I = re.compile(r"\bi\b")
_NEIGHBOURS = {
    a: b
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for a, b in zip(row, row[1:] + row[-2], strict=True)
}


@cache
def words() -> dict:
    """Names, synonyms, openers: the words around the grammar."""
    return yaml.safe_load((DATA / "words.yaml").read_text(encoding="utf-8"))


@cache
def _synonyms() -> tuple[dict[str, list[str]], re.Pattern[str]]:
    others = {w: [o for o in group if o != w] for group in words()["synonyms"] for w in group}
    longest = sorted(others, key=len, reverse=True)
    return others, re.compile(r"(?<![\w'{])(" + "|".join(map(re.escape, longest)) + r")(?![\w'}])")


def reword(rng: Random, skeleton: str) -> str:
    """The skeleton said in other words, or without the small ones."""
    if rng.random() < REWORDED:
        others, pattern = _synonyms()
        skeleton = pattern.sub(
            lambda m: rng.choice(others[m[0]]) if rng.random() < 0.5 else m[0], skeleton, count=2
        )
    if rng.random() < KEYWORDS:
        stop_words = words()["stop_words"]
        kept = [w for w in skeleton.split() if w not in stop_words or rng.random() < 0.4]
        skeleton = " ".join(kept) if len(kept) >= 3 else skeleton
    first, comma, second = skeleton.partition(", ")
    if comma and len(first.split()) > 2 and len(second.split()) > 2 and rng.random() < 0.2:
        skeleton = f"{second}, {first}"
    return skeleton


def greet(rng: Random, skeleton: str) -> str:
    """An opener before and a closer behind a sentence that is long enough not to be small talk itself."""
    if len(skeleton.split()) < 3:
        return skeleton
    if rng.random() < GREETED:
        opener = rng.choice(rng.choice(words()["openers"]))
        skeleton = f"{opener}{rng.choice((', ', ', ', ' ', ': ', '! '))}{skeleton}"
    if rng.random() < CLOSED:
        skeleton = f"{skeleton}{rng.choice((', ', ' ', ' '))}{rng.choice(words()['closers'])}"
    return skeleton


FREE = frozenset({"order", "name", "x", "y", "item"})  # slots that are copied and so never misspelt


def write(
    rng: Random, skeleton: str, values: dict[str, str], typos: float = TYPO, copied: frozenset[str] = FREE
) -> str:
    """The message as it is typed: slots filled, one of several ways with case and marks, sometimes a typo."""
    if rng.random() < typos:
        skeleton = _mistype(rng, skeleton)
    style = rng.random()
    if style < 0.38:
        return _mark(rng, _fill(rng, _capital(skeleton), values, "", copied), skeleton, 0.85)
    if style < 0.5:
        return _mark(rng, _fill(rng, skeleton, values, "", copied), skeleton, 0.5)
    if style < 0.97 or not copied.isdisjoint(values):
        return _mark(rng, _fill(rng, skeleton, values, "lower", copied), skeleton, 0.35)
    return _mark(rng, _fill(rng, skeleton.upper(), values, "upper", copied), skeleton, 0.5)


def _fill(rng: Random, skeleton: str, values: dict[str, str], case: str, copied: frozenset[str]) -> str:
    if "{" not in skeleton:
        return skeleton

    def value(match: re.Match[str]) -> str:
        slot = match[1].lower()
        text = values[slot]
        if slot in copied:
            return text
        if len(text) > 4 and rng.random() < SLOT_TYPO:
            text = _mistype(rng, text)
        return text.upper() if case == "upper" else text.lower() if case == "lower" else text

    return _SLOT.sub(value, skeleton)


def _capital(skeleton: str) -> str:
    skeleton = _I.sub("I", skeleton)
    if skeleton.startswith("{"):
        return skeleton
    return skeleton[:1].upper() + skeleton[1:]


def _mark(rng: Random, text: str, skeleton: str, likely: float) -> str:
    if rng.random() > likely or text[-1:] in "?!.":
        return text
    if not _QUESTION.search(skeleton.lower()):
        return text + rng.choice((".", ".", ".", "!"))
    return text + rng.choice(("?", "?", "?", "?", "?", "?", "??", " ?"))


def _mistype(rng: Random, text: str) -> str:
    """One slip in one longer word that is not a slot: a letter lost, doubled, swapped or hit beside."""
    pieces = _PIECES.split(text)
    plain = [i for i, piece in enumerate(pieces) if len(piece) > 4 and not piece.startswith("{")]
    if not plain:
        return text
    where = rng.choice(plain)
    slots = [m.start() for m in re.finditer(r"[a-z]{2}", pieces[where])]
    if not slots:
        return text
    at = rng.choice(slots) + 1
    piece = pieces[where]
    slip = rng.random()
    if slip < 0.35:
        piece = piece[:at] + piece[at + 1 :]
    elif slip < 0.5:
        piece = piece[:at] + piece[at] + piece[at:]
    elif slip < 0.8:
        piece = piece[: at - 1] + piece[at] + piece[at - 1] + piece[at + 1 :]
    else:
        piece = piece[:at] + _NEIGHBOURS.get(piece[at], "e") + piece[at + 1 :]
    pieces[where] = piece
    return "".join(pieces)
