"""`backtalk flags stats`: what visitors say, as a table, and as a picture with `--plot`.

backtalk flags stats
backtalk flags stats --answers 5000 --plot flags.png
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from backtalk.errors import BacktalkError, WordsError
from backtalk.home import home
from backtalk.verb import Parser, report_json
from feedback.curate import controls
from feedback.curate.gather import add_sources, gather
from feedback.hub.fetch import sources_at_home
from feedback.review.flags import escaped
from feedback.review.insights import FEWEST, Insights, look, plain
from feedback.store.outbox import NAME, Outbox
from feedback.taxonomy import taxonomy

PICTURES = (".png", ".svg", ".pdf")
LONGEST = 90  # characters of somebody's words


def main(argv: list[str]) -> int:
    parser = Parser(
        "flags stats", "What visitors say, counted.", example="backtalk flags stats --plot flags.png"
    )
    add_sources(parser)
    parser.add_argument(
        "--answers",
        type=int,
        default=0,
        metavar="N",
        help="how many answers were given, for the share that was flagged",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them too (.png, .svg or .pdf)")
    parser.add_json()
    args = parser.parse_args(argv)
    if args.plot and args.plot.suffix not in PICTURES:
        raise WordsError(f"--plot writes {', '.join(PICTURES)}; '{args.plot.name}' was given.")
    gathered = gather(args.sources or _at_home(), controls.pattern())
    insights = look(gathered, home() / "curated", args.answers)
    for line in told(insights):
        print(escaped(line))
    if not args.sources:
        print(f"\n{_what_waits()}")
    if args.plot:
        draw(insights, args.plot)
        print(f"\nDrawn in {args.plot}")
    if args.json:
        report_json(plain(insights))
    return 0


def told(insights: Insights) -> Iterator[str]:
    """The figures as lines of text; a share stands with its 95 % interval."""
    yield f"{insights.flags:,} flags stand"
    if insights.flagged:
        yield f"flagged answers: {insights.flagged}"
    yield from _table("good ones, by model", insights.good)
    yield from _table("reasons", {_label(name): count for name, count in insights.reasons.items()})
    yield from _table("states", insights.states)
    yield from _table("good ones, by day", insights.days)
    for conflict in insights.conflicts:
        yield from _table(
            f"conflict: {conflict.question[:LONGEST]}",
            {text[:LONGEST]: count for text, count in conflict.corrections.items()},
        )
    yield from _table("bias, by language and round", insights.bias)
    yield from _table("safety, by language and round", insights.safety)
    if insights.hidden:
        yield f"  {insights.hidden} groups with fewer than {FEWEST} flags are not shown"
    yield from _table("median hours from the flag", _waits(insights))


def draw(insights: Insights, file: Path) -> None:
    """Four pictures in one: reasons, days, models and what people of each language find unsafe."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    (reasons, days), (models, safety) = figure.subplots(2, 2)
    names = list(insights.reasons)[:15][::-1]
    reasons.barh([_label(name) for name in names], [insights.reasons[name] for name in names])
    reasons.set_title("Flags by reason")
    days.bar(list(insights.days), [share.whole for share in insights.days.values()], label="all")
    days.bar(list(insights.days), [share.part for share in insights.days.values()], label="good")
    days.set_title("Flags by day")
    days.tick_params("x", rotation=45)
    days.legend()
    _draw_shares(models, "Good ones of all flags, 95 % interval", insights.good)
    _draw_shares(safety, "Flags about safety, by language and round", insights.safety)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _draw_shares(axes: Any, title: str, shares: Mapping[str, Any]) -> None:
    for place, share in enumerate(shares.values()):
        low, high = share.interval
        axes.plot([low, high], [place, place], color="tab:gray")
        axes.plot([share.value], [place], "o", color="tab:blue")
        axes.annotate(f"n = {share.whole}", (1.0, place), ha="right", va="bottom", fontsize=8)
    axes.set_yticks(range(len(shares)), list(shares))
    axes.set_xlim(0, 1)
    axes.set_title(title)


def _waits(insights: Insights) -> dict[str, float]:
    hours = {"to a decision": insights.hours_to_decision, "to a curated set": insights.hours_to_set}
    return {name: value for name, value in hours.items() if value}


def _table(title: str, rows: Mapping[str, Any]) -> Iterator[str]:
    if not rows:
        return
    yield f"\n{title}"
    width = max(len(name) for name in rows)
    yield from (f"  {name:<{width}}  {value}" for name, value in rows.items())


def _label(reason: str) -> str:
    return taxonomy().reason(reason).label


def _at_home() -> list[Path]:
    """Everybody's flags; a Hub that is away is asked once, since what is here can be counted at once."""
    found = sources_at_home(patience=0)
    if not found:
        raise BacktalkError("There are no flags to count. Visitors make them in: backtalk chat")
    return found


def _what_waits() -> str:
    """How far the flags have come on their way to the Hub, and what holds up the rest."""
    from feedback.hub.sync import status

    with closing(Outbox(home() / NAME)) as outbox:
        return status(outbox).sentence
