"""The rows on which configurations are compared: the same for all, development and test apart.

    split = divide(candidates, asked.search, seed)
    split.dev["summary"], split.test["summary"]         by the words that a configuration shows rows in

A row is known by its right answer, since its question is put in other words by another prompt variant. Rows
with the same answer are on the same side and one cluster; rows that some configuration cannot read are left
out for all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from backtalk.errors import BacktalkError, WordsError
from training.evaluation.items import PRIMARY, Item
from training.experiment.recipe import Search

FEWEST = 2  # different answers of a side: of one there is no interval


@dataclass(frozen=True)
class Candidate:
    """A row that could be compared on; `tests`: the recipe says that it is for the test."""

    item: Item
    tests: bool


@dataclass(frozen=True)
class Split:
    """By reading (a prompt variant with a template), the items in one order."""

    dev: Mapping[str, Sequence[Item]]
    test: Mapping[str, Sequence[Item]]


def candidates(rows: Iterable[Mapping[str, Any]], test_sources: Iterable[str]) -> dict[str, Candidate]:
    """The rows of a loaded evaluation by what they are known by."""
    names = set(test_sources)
    found: dict[str, Candidate] = {}
    for row in rows:
        said = (one["content"] for one in row["completion"] if one["role"] == "assistant")
        answer = next(said, "").strip()
        if not answer:
            continue
        digest = sha256(answer.encode("utf-8", "replace")).hexdigest()[:16]
        copy = sum(key.startswith(digest) for key in found)
        item = _item(row, f"{digest}-{copy}", answer, f"answer:{digest}")
        found[item.id] = Candidate(item, row["source"] in names)
    return found


def divide(by_reading: Mapping[str, Mapping[str, Candidate]], search: Search, seed: int) -> Split:
    """Development and test rows that every reading has. Raises BacktalkError where there are too few."""
    readings = list(by_reading)
    common = set.intersection(*(set(by_reading[name]) for name in readings))
    first = by_reading[readings[0]]
    ordered = sorted(common, key=lambda key: _chance(seed, "order", key))
    told_apart = any(first[key].tests for key in common)
    tests = {
        key
        for key in common
        if (first[key].tests if told_apart else _drawn(seed, first[key].item.cluster) < search.test_share)
    }
    in_tests = {first[key].item.cluster for key in tests}
    dev = [key for key in ordered if key not in tests and first[key].item.cluster not in in_tests]
    test = [key for key in ordered if key in tests]
    dev, test = dev[: search.dev_items], test[: search.test_items]
    for name, side in (("development", dev), ("test", test)):
        if len(answers := {first[key].item.cluster for key in side}) < FEWEST:
            raise BacktalkError(
                f"The experiment has {len(side)} {name} rows with {len(answers)} different answers, and at "
                f"least {FEWEST} answers were wanted. Give the recipe more evaluation rows: data.evaluation, "
                "data.eval_share, or experiment.test."
            )
    return Split(
        {name: [by_reading[name][key].item for key in dev] for name in readings},
        {name: [by_reading[name][key].item for key in test] for name in readings},
    )


def extended(split: Split, reading: str, found: Mapping[str, Candidate]) -> Split:
    """The split with one more reading of the same rows. Raises WordsError where it lacks one of them."""
    if reading in split.dev:
        return split
    sides = []
    for side in (split.dev, split.test):
        keys = [item.id for item in next(iter(side.values()))]
        if lacking := [key for key in keys if key not in found]:
            raise WordsError(
                f"{len(lacking)} of the rows to compare on cannot be read that way (another evaluation, or "
                "rows that are too long), so it could not be compared. Begin another experiment"
            )
        sides.append({**side, reading: [found[key].item for key in keys]})
    return Split(*sides)


def _item(row: Mapping[str, Any], identity: str, answer: str, cluster: str) -> Item:
    messages = tuple({"role": one["role"], "content": one["content"]} for one in row["prompt"])
    place = f"{row['source']}, row {row['id']}"
    return Item(identity, PRIMARY, place, messages, answer, (), (), False, cluster, False)


def _chance(seed: int, what: str, key: str) -> str:
    return sha256(f"{seed}|{what}|{key}".encode()).hexdigest()


def _drawn(seed: int, cluster: str) -> float:
    return int(_chance(seed, "test", cluster)[:16], 16) / 2**64
