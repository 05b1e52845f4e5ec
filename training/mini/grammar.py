"""Wordings: the sentence skeletons in which a thing is asked, and the choices that multiply them.

A skeleton is one lower-case sentence without its last mark: `(a|b)` is a choice, `(a|)` an optional word,
`<tell>` a list of choices of its own, `{country}` a slot. `Wordings` holds what training hears and what
only the evaluation asks.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from random import Random

Pattern = tuple[tuple[str, ...], ...]  # the parts of a skeleton, each a choice of texts

_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)|<(\w+)>")
_SPACES = re.compile(r"\s+")
_MARKS = re.compile(r"[^\w{}@+#/]+")


def key(text: str) -> str:
    """What sentences share that differ only in case, marks and spaces; slots stay, and so do bare marks."""
    return _MARKS.sub(" ", text.lower().replace("'", "").replace("’", "")).strip() or text.strip()


def lines(entries: str | Iterable[str] | None) -> list[str]:
    """The skeletons of a block of lines or of a list."""
    if entries is None:
        return []
    found = entries.splitlines() if isinstance(entries, str) else [str(entry) for entry in entries]
    return [line.strip() for line in found if line.strip()]


def parse(skeleton: str, macros: dict[str, list[str]]) -> Pattern:
    """The parts of a skeleton: plain text is a choice of one."""
    parts: list[tuple[str, ...]] = []
    end = 0
    for match in _CHOICE.finditer(skeleton):
        parts.append((skeleton[end : match.start()],))
        parts.append(tuple(macros[match[2]]) if match[2] else tuple(match[1].split("|")))
        end = match.end()
    parts.append((skeleton[end:],))
    return tuple(part for part in parts if part != ("",))


def tidy(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def expansions(pattern: Pattern) -> Iterator[str]:
    """Every sentence skeleton that a pattern can become."""
    return (tidy("".join(choice)) for choice in product(*pattern))


@dataclass(frozen=True)
class Wordings:
    """How one thing is asked: in training, and in the evaluation alone."""

    train: tuple[Pattern, ...] = ()
    held_out: tuple[str, ...] = ()
    nouns: tuple[Pattern, ...] = ()
    frames: tuple[Pattern, ...] = field(default=(), repr=False)

    def pick(self, rng: Random, held_out: bool) -> str:
        """A skeleton of the asked side; a third of the training ones are noun phrases in a frame."""
        if held_out:
            return rng.choice(self.held_out)
        if self.nouns and (not self.train or rng.random() < 0.3):
            return self._framed(rng)
        return _draw(rng, rng.choice(self.train))

    def _framed(self, rng: Random) -> str:
        noun = _draw(rng, rng.choice(self.nouns))
        return _draw(rng, rng.choice(self.frames)).replace("{noun}", noun)

    def all_training(self) -> Iterator[str]:
        """Every skeleton that training can hear, for the counts and the test of the split."""
        for pattern in self.train:
            yield from expansions(pattern)
        nouns = [noun for pattern in self.nouns for noun in expansions(pattern)]
        for frame in self.frames if nouns else ():
            for framed in expansions(frame):
                yield from (framed.replace("{noun}", noun) for noun in nouns)


def _draw(rng: Random, pattern: Pattern) -> str:
    if len(pattern) == 1 and len(pattern[0]) == 1:
        return pattern[0][0]
    return tidy("".join([part[int(rng.random() * len(part))] for part in pattern]))
