"""Votes and pairs as tokens, and what their number allows: weights from the counts, or to collect more first.

A model that is taught by a handful of votes learns who voted, not what is good; one that is taught by good
answers alone has nothing to tell apart. So too few votes, or votes of one kind, are not learned from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from feedback.curate.curated import kto_weights
from training.recipe import Kto
from training.render import Row

EVEN = 4 / 3
"""Good against bad, weights counted: from 1 to this, KTO's paper asks for no further weight."""

SHAKY = 20  # answers of the rarer kind, below which the result hangs on single votes


@dataclass(frozen=True)
class Vote:
    """An answer, and whether it was called good; `weight`: how much the reasons behind the vote count."""

    row: Row
    good: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Pair:
    """Two answers to one question."""

    better: Row
    worse: Row


@dataclass(frozen=True)
class Balance:
    """How many answers of each kind there are, and the weights that give both kinds the same say."""

    good: int
    bad: int
    desirable: float
    undesirable: float

    def told(self) -> str:
        """In words."""
        why = "even enough" if self.desirable == self.undesirable else "so that both kinds count alike"
        return (
            f"{self.good:,} good and {self.bad:,} bad answers, weights {self.desirable:g} and "
            f"{self.undesirable:g} ({why})"
        )


def balance(votes: Sequence[Vote], kto: Kto) -> Balance:
    """The weights of a run: the recipe's where it says one, else from the counts; one of them is always 1."""
    good = sum(vote.good for vote in votes)
    bad = len(votes) - good
    if kto.desirable is not None or kto.undesirable is not None:
        return Balance(good, bad, kto.desirable or 1.0, kto.undesirable or 1.0)
    if bad <= good <= EVEN * bad:
        return Balance(good, bad, 1.0, 1.0)
    weights = kto_weights(good, bad)
    return Balance(good, bad, weights["desirable_weight"], weights["undesirable_weight"])


def too_few(count: int, fewest: int, what: str) -> str:
    """Why nothing is learned from so few; empty where they are enough."""
    if count >= fewest:
        return ""
    found = f"there are {count:,} {what}" if count else f"there are no {what}"
    return f"{found}, and {fewest:,} are wanted before a model learns from them; collect more flags first"


def one_sided(votes: Sequence[Vote]) -> str:
    """Why nothing is learned from votes of one kind; empty where there are both."""
    kinds = {vote.good for vote in votes}
    if len(kinds) == 2:
        return ""
    kind, other = ("good", "bad") if True in kinds else ("bad", "good")
    advice = "sft learns from good answers alone" if kind == "good" else "corrected answers teach more by sft"
    return f"all {len(votes):,} answers were called {kind}, and KTO needs {other} ones too; {advice}"


def caution(balance: Balance) -> str:
    """What has to be known of a lopsided set; empty where there is nothing."""
    rarer = min(balance.good, balance.bad)
    if rarer >= SHAKY:
        return ""
    kind = "good" if balance.good < balance.bad else "bad"
    return f"only {rarer:,} answers were called {kind}, so the result hangs on single votes"
