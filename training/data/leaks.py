"""Leakage: a training row whose prompt is an evaluation prompt, exactly, but for spelling, or nearly.

held_out = HeldOut()
held_out.add("samsum, row 3", "user: ...")
held_out.leak(example)                     Leak | None
"""

from collections.abc import Sequence
from typing import NamedTuple

from backtalk.errors import BacktalkError
from feedback.curate.similar import Likeness, Text, normalised
from training.data.example import Example

MOST_TOLD = 10


class Leak(NamedTuple):
    """Two rows that ask the same."""

    kind: str  # exact, normalised, near
    train: str
    evaluation: str
    prompt: str


class HeldOut:
    """The prompts of an evaluation."""

    def __init__(self) -> None:
        self._exact: dict[str, str] = {}
        self._spelled: dict[str, str] = {}
        self._near = Likeness()
        self._names: list[str] = []

    def add(self, name: str, prompt: str) -> None:
        """Remembers an evaluation prompt; `name` says where it stands."""
        words = normalised(prompt)
        self._exact.setdefault(prompt, name)
        if words not in self._spelled:
            self._spelled[words] = name
            self._near.add(len(self._names), Text(words))
            self._names.append(name)

    def leak(self, example: Example) -> Leak | None:
        """The first of the row's prompts that is held out."""
        for prompt in example.asked if self._names else ():
            if found := self._found(prompt):
                return Leak(found[0], example.place, found[1], prompt)
        return None

    def _found(self, prompt: str) -> tuple[str, str] | None:
        if prompt in self._exact:
            return "exact", self._exact[prompt]
        words = normalised(prompt)
        if words in self._spelled:
            return "normalised", self._spelled[words]
        near = next(self._near.near(Text(words)), None)
        return None if near is None else ("near", self._names[near])


def refuse_leaks(leaks: Sequence[Leak]) -> None:
    """Raises one error that lists the pairs, where there are any."""
    if not leaks:
        return
    told = [f"  {leak.kind}: {leak.train} and {leak.evaluation}: {leak.prompt[-80:]!r}" for leak in leaks]
    more = [f"  and {len(leaks) - MOST_TOLD:,} more"] if len(leaks) > MOST_TOLD else []
    rows = "row holds" if len(leaks) == 1 else "rows hold"
    raise BacktalkError(
        f"{len(leaks):,} training {rows} an evaluation prompt, so the evaluation would measure memory; "
        "nothing was trained. Take them out of the data, or leave them out with data.drop_leaks: true.\n"
        + "\n".join(told[:MOST_TOLD] + more)
    )
