"""Which methods follow from what was collected: stated rules, each with the numbers that it saw.

few flags                          nothing is taught, flags are collected
corrections                        sft, with replay
enough votes, of both kinds        kto, after sft
enough pairs                       dpo with an sft term, last
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backtalk.round.recipe import Rules


@dataclass
class Choice:
    """The methods in order, and why each was taken or left; no method: the round only collects."""

    methods: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)

    def weigh(self, method: str, taken: bool, why: str) -> None:
        """Notes a method with its reason."""
        self.why.append(f"{method}: {'taken' if taken else 'left out'}, {why}.")
        if taken:
            self.methods.append(method)


def choose(metrics: Mapping[str, Any], rules: Rules) -> Choice:
    """The choice from a curated set's metrics."""
    choice, used, rows = Choice(), int(metrics["used"]), metrics["rows"]
    if used < rules.fewest:
        choice.why.append(f"{used} usable flags, and {rules.fewest} are wanted: flags are only collected.")
        return choice
    if not rows["eval"]:
        choice.why.append("no flag was held out, so nothing could be judged: flags are only collected.")
        return choice
    good, bad = metrics["kto"]["good"], metrics["kto"]["bad"]
    choice.weigh("sft", *_enough(rows["sft"], rules.corrections, "corrections and examples"))
    votes, why = _enough(good + bad, rules.votes, f"votes ({good} good, {bad} bad)")
    if votes and min(good, bad) < rules.minority:
        votes, why = False, f"{good} good and {bad} bad votes; {rules.minority} of each are wanted"
    choice.weigh("kto", votes, why)
    choice.weigh("dpo", *_enough(rows["dpo"], rules.pairs, "pairs"))
    return choice


def _enough(count: int, wanted: int | None, what: str) -> tuple[bool, str]:
    if wanted is None:
        return False, f"the recipe does without it ({count} {what})"
    return count >= wanted, f"{count} {what}" + ("" if count >= wanted else f"; {wanted} are wanted")
