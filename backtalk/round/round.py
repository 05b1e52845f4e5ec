"""`backtalk round [RECIPE]`: from flags to a better model, or to the reason why there is none yet.

    backtalk round recipes/mini_round.yaml --include agreed
    backtalk round --dry-run

The acts are those of acts.py, each a process of its own. Interrupted anywhere, the same command goes on at
the act that it was in. BACKTALK_HOME/rounds/N holds what came of it: REPORT.md, verdict.json, last card.json.
Exit code 0: promoted, collected only, or nothing has changed since the last promotion; 3: HOLD or REJECT.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from backtalk.card import Card
from backtalk.config import add_flags, to_plain
from backtalk.errors import WordsError
from backtalk.files import canonical_json, sha256_of
from backtalk.home import home
from backtalk.models import MINI
from backtalk.progress import Progress
from backtalk.round.acts import ACTS, GATE_SAID_NO, GATHERING, JUDGING, RECALLING, TEACHING, Round
from backtalk.round.again import look_again
from backtalk.round.ahead import ahead
from backtalk.round.judge import PROMOTE
from backtalk.round.plan import plan
from backtalk.round.recipe import RoundRecipe, files_of, found, read_round_recipe
from backtalk.round.report import REPORT, finish
from backtalk.round.served import current_of, teaches_mini
from backtalk.round.state import Rounds, State, UnreadableError
from backtalk.verb import Parser, report_json

RECIPE = Path("recipes/mini_round.yaml")
FLAGS_LIE_IN = ("outbox.sqlite", "segments", "fetched")


@dataclass(frozen=True)
class Outcome:
    """How a round ended; without a card it only collected."""

    why: str
    number: int = 0
    card: Card | None = None
    fresh: bool = True

    @property
    def verdict(self) -> str:
        return str(self.card.verdicts[0]["verdict"]) if self.card else "COLLECTING"

    @property
    def code(self) -> int:
        return 0 if self.verdict in (PROMOTE, "COLLECTING") else GATE_SAID_NO

    def as_json(self) -> dict[str, Any]:
        metrics = self.card.metrics if self.card else {}
        folder = str(home() / "rounds" / str(self.number)) if self.number else ""
        return {
            "round": self.number,
            "folder": folder,
            "verdict": self.verdict,
            "why": self.why,
            "new": self.fresh,
            "promoted": bool(metrics.get("promoted")),
            "sha256": metrics.get("sha256", ""),
            "metrics": metrics,
        }


def main(argv: list[str]) -> int:
    """`backtalk round`."""
    args = _parser().parse_args(argv)
    flags = {key: value for key, value in vars(args).items() if key not in ("recipe", "json")}
    recipe = read_round_recipe(args.recipe, flags)
    if args.dry_run:
        steps = plan(recipe, Rounds())
        print("\n".join(steps.lines))
        if args.json:
            report_json(steps.as_json())
        return 0
    progress = Progress()
    outcome = run_round(recipe, args.by, args.fresh, args.offline, progress)
    print(f"Round {outcome.number}: {outcome.verdict}. {outcome.why}" if outcome.card else outcome.why)
    if outcome.card:
        print(home() / "rounds" / str(outcome.number) / REPORT)
    if args.json:
        report_json(outcome.as_json())
    return outcome.code


def run_round(
    recipe: RoundRecipe,
    by: str = "",
    fresh: bool = False,
    offline: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """One round from its flags to its card, or on from where it was interrupted.

    Raises BacktalkError where an act failed or another round is running, WordsError where an unfinished round
    was begun with another recipe.
    """
    progress, rounds = progress or Progress(), Rounds()
    with rounds.alone():
        if not any((home() / name).exists() for name in FLAGS_LIE_IN) and not recipe.hub.dataset:
            return Outcome("There are no flags yet. Visitors make them in: backtalk chat")
        state = _state(recipe, rounds, by, fresh, offline)
        work = Round(state, recipe, rounds, progress.done, progress.report, offline)
        if state.acts:
            look_again(work)
        work.go_on(GATHERING)
        for line in work.choice.why:
            progress.done(f"methods: {line}")
        if not work.choice.methods:
            rounds.forget(state.folder)
            return Outcome(f"Nothing was taught: {' '.join(work.choice.why)}")
        begun = state.fresh or any(state.done(name) for name, _ in ACTS[len(GATHERING) :])
        if not begun and (known := _same(work)):
            rounds.forget(state.folder)
            return known
        with ahead(work):
            work.go_on((*TEACHING, *RECALLING))
        work.go_on(JUDGING)
        card = finish(work)
        return Outcome(str(card.verdicts[0]["why"]), state.number, card)


def _state(recipe: RoundRecipe, rounds: Rounds, by: str, fresh: bool, offline: bool) -> State:
    """The round that was interrupted, or a new one."""
    said = _as_said(recipe)
    state = _unfinished(rounds, fresh)
    if state and fresh and not (state.fresh and state.recipe == said):
        rounds.forget(state.folder)
        state = None
    if state and state.recipe != said:
        raise WordsError(
            f"Round {state.number} is unfinished and was begun with another recipe or base. Give the same "
            "again to go on with it, or --fresh to begin anew."
        )
    if state:
        state.by = by or state.by
    return state or rounds.begin(said, current_of(recipe, offline), by, fresh)


def _unfinished(rounds: Rounds, fresh: bool) -> State | None:
    """The round that was interrupted. One that cannot be read is forgotten where a fresh one is wanted."""
    try:
        return rounds.unfinished()
    except UnreadableError as fault:
        if not fresh:
            raise
        rounds.forget(fault.folder)
        return None


def _as_said(recipe: RoundRecipe) -> dict[str, Any]:
    """The recipe in full, with the hash of every file that it names, and of the bundled base."""
    files = {str(path): sha256_of(found(path)) for path in files_of(recipe)}
    if teaches_mini(recipe):
        files["mini"] = sha256_of(MINI)
    return {**to_plain(recipe), "files": files}


def _same(work: Round) -> Outcome | None:
    """The last round, where flags, recipe and model are those that it saw: nothing new can come of it."""
    finished = work.rounds.finished()
    if not finished:
        return None
    number, card = finished[-1]
    served = (card.metrics["current"]["sha256"], card.metrics["sha256"])
    if work.state.current["sha256"] not in served or _seen(work) != _seen_by(card):
        return None
    why = "Nothing has changed since then: the same flags, recipe and model. Again all the same: --fresh"
    return Outcome(why, number, card, fresh=False)


def _seen(work: Round) -> str:
    recipe = {key: value for key, value in work.state.recipe.items() if key != "round"}
    return _digest(recipe, work.state.said("curate")["metrics"]["events_sha256"])


def _seen_by(card: Card) -> str:
    recipe = {key: value for key, value in card.recipe.items() if key != "round"}
    return _digest(recipe, card.metrics["events_sha256"])


def _digest(recipe: Mapping[str, Any], events: str) -> str:
    return sha256(canonical_json([recipe, events])).hexdigest()


def _parser() -> Parser:
    parser = Parser(
        "round",
        "From flags to a better model: curate, train, export, evaluate, gate, promote. The same command\n"
        "goes on where it was interrupted. Exit code 3: the gate said HOLD or REJECT; nothing was promoted.",
        example="backtalk round recipes/mini_round.yaml --include agreed\nbacktalk round --dry-run",
    )
    parser.add_argument(
        "recipe", nargs="?", type=Path, default=RECIPE, metavar="RECIPE", help=f"round recipe ({RECIPE})"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would be done, and how long it takes"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="a new round, whatever was begun or is unchanged"
    )
    parser.add_argument("--offline", action="store_true", help="never touch the network")
    parser.add_argument("--by", default="", metavar="NAME", help="who promotes (default: your name here)")
    parser.add_json()
    add_flags(parser.add_argument_group("knobs of the recipe"), RoundRecipe)  # type: ignore[arg-type]
    return parser
