"""What `--dry-run` says: each act, what it would do, and how long that takes, from the last round's card."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backtalk.round.acts import ACTS, DATASET
from backtalk.round.recipe import Replay, RoundRecipe, Rules
from backtalk.round.state import Rounds


@dataclass(frozen=True)
class Plan:
    """The acts of the next round: what each would do, and its seconds where they are known."""

    number: int
    acts: tuple[tuple[str, str, float | None], ...]
    measured: str

    @property
    def lines(self) -> list[str]:
        known = [seconds for _, _, seconds in self.acts if seconds is not None]
        rows = [f"  {name:<9}{_time(seconds):>8}  {what}" for name, what, seconds in self.acts]
        whole = f"about {sum(known):,.0f} s, {self.measured}" if known else self.measured
        return [f"Round {self.number} would do this ({whole}):", *rows]

    def as_json(self) -> dict[str, Any]:
        acts = [{"act": name, "what": what, "seconds": seconds} for name, what, seconds in self.acts]
        return {"round": self.number, "acts": acts, "measured": self.measured}


def plan(recipe: RoundRecipe, rounds: Rounds) -> Plan:
    """The plan of the next round, or of the rest of one that was interrupted."""
    finished, begun = rounds.finished(), rounds.unfinished()
    seconds = finished[-1][1].metrics["seconds"] if finished else {}
    measured = (
        f"as in round {finished[-1][0]}" if finished else "how long is not known before the first round here"
    )
    done = begun.acts if begun else {}
    acts = tuple((name, what, seconds.get(name)) for name, what in _acts(recipe) if name not in done)
    number = begun.number if begun else max([one for one, _ in finished], default=0) + 1
    return Plan(number, acts, measured)


def _acts(recipe: RoundRecipe) -> Iterator[tuple[str, str]]:
    rules, dataset = recipe.rules, recipe.hub.dataset or os.environ.get(DATASET, "")
    what = {
        "sync": f"flags from {dataset} and ours to it" if dataset else "skipped: no dataset is named",
        "replay": f"{_much(recipe.replay)}, from {recipe.replay.source}" if recipe.replay.source else "none",
        "curate": f"all usable flags to date ({recipe.include}), {recipe.eval_share:.0%} of them held out",
        "train": f"{recipe.train.recipe}: {_methods(rules)}; nothing below {rules.fewest} usable flags",
        "export": f"{recipe.export.quant}{' with an importance matrix' if recipe.export.imatrix else ''}",
        "earlier": "what earlier rounds were asked",
        "taught": "what was taught, asked again for those who flagged it",
        "evaluate": f"the file as it is served, on held-out flags, {len(recipe.gate.task)} files of the task "
        f"test and {len(recipe.gate.general)} of general text",
        "publish": f"to {recipe.hub.model}" if recipe.hub.model else "skipped: no model repository is named",
        "promote": "where the gate says PROMOTE",
    }
    return ((name, what[name]) for name, _ in ACTS)


def _much(replay: Replay) -> str:
    return f"{replay.rows:,} rows" if replay.rows else f"{replay.share:.0%} of what is taught"


def _methods(rules: Rules) -> str:
    wanted = {"sft": rules.corrections, "kto": rules.votes, "dpo": rules.pairs}
    return ", ".join(f"{name} from {count} rows on" for name, count in wanted.items() if count is not None)


def _time(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds:,.0f} s"
