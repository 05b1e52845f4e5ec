"""The order in which rows are drawn: random to the eye, the same for the same seed and rows.

Any number of first rows is a fair sample; with strata, one that holds each in its proportion.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from hashlib import sha256

from training.data.example import Example


def draw(examples: Iterable[Example], seed: int) -> list[Example]:
    """The examples in the order in which they are taken."""
    by_chance = sorted(numbered(examples), key=lambda entry: _chance(seed, *entry))
    strata: defaultdict[str, list[Example]] = defaultdict(list)
    for example, _ in by_chance:
        strata[example.stratum].append(example)
    if len(strata) < 2:
        return [example for example, _ in by_chance]
    ranked = [
        ((place + _offset(seed, name)) / len(group), name, place)
        for name, group in strata.items()
        for place in range(len(group))
    ]
    return [strata[name][place] for _, name, place in sorted(ranked)]


def numbered(examples: Iterable[Example]) -> list[tuple[Example, int]]:
    """Each example with how often its like came before: rows with the same content are not the same row."""
    seen: Counter[str] = Counter()
    found = []
    for example in examples:
        found.append((example, seen[example.id]))
        seen[example.id] += 1
    return found


def _chance(seed: int, example: Example, copy: int) -> str:
    return sha256(f"{seed}|{example.id}|{copy}".encode()).hexdigest()


def _offset(seed: int, stratum: str) -> float:
    """Between 0 and 1, so that of strata with equally many rows none is always first."""
    return int.from_bytes(sha256(f"{seed}|stratum|{stratum}".encode()).digest()[:8]) / 2**64
