"""Asynchronous successive halving: weak configurations wait at a rung, and the others go on without them.

A rung is a number of steps: the first one is the least that every configuration is given, each further one is
`keep` times as far. A configuration passes a rung if it is among the best 1 / keep of those that reached it,
by bits per byte on the development rows; who waits may still pass later, when more have come. Nobody is
compared with a finished configuration's end (Li et al., "A System for Massively Parallel Hyperparameter
Tuning", MLSys 2020).
"""

from collections.abc import Mapping


class Halving:
    """`first` rung in steps, and of how many at a rung one goes on."""

    def __init__(self, first: int, keep: int) -> None:
        self._first, self._keep = first, keep

    def is_rung(self, step: int) -> bool:
        rung = self._first
        while rung < step:
            rung *= self._keep
        return rung == step

    def passes(self, name: str, reached: Mapping[str, float]) -> bool:
        """Whether `name` may go on from a rung; `reached`: bits per byte there of all who came."""
        best = sorted(reached, key=lambda one: (reached[one], one))
        return name in best[: len(best) // self._keep]
