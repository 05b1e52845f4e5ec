"""`backtalk rollback`: serves the model before again, and says which one that is.

    backtalk rollback --why "answers in French"      here
    backtalk rollback --repo somebody/shop-desk      in the model repository
    backtalk rollback --to 9c1f0a77                  further back, by the beginning of a sha256 or by name

The pointer holds the five models before; the file that it goes back to is looked at first, so that nothing is
served that is not there.
"""

import getpass
from dataclasses import dataclass
from datetime import UTC, datetime

from backtalk import hub
from backtalk.errors import ModelError, WordsError
from backtalk.files import sha256_of
from backtalk.home import home
from backtalk.verb import Parser, report_json
from export.pointer import Pointer, Promotion, move_here, move_on_hub


@dataclass(frozen=True)
class Wish:
    """Which model is wanted back (empty: the one before), who wants it, and why."""

    to: str
    who: str
    why: str


def main(argv: list[str]) -> int:
    parser = Parser(
        "rollback", "Serve the model before.", example='backtalk rollback --why "round 3 invents prices"'
    )
    parser.add_argument(
        "--repo", default="", metavar="OWNER/NAME", help="the pointer of this model repository"
    )
    parser.add_argument("--to", default="", metavar="X", help="a name or the beginning of a sha256")
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, kept in the pointer")
    parser.add_argument("--by", default="", metavar="NAME", help="who decides (default: your name here)")
    parser.add_json()
    args = parser.parse_args(argv)
    before, after = rollback(args.repo, Wish(args.to, args.by or getpass.getuser(), args.why))
    place = f"hf://{args.repo}/promoted.json" if args.repo else "here"
    print(f"Served {place} again: {after.served.sentence}. Left: {before.served.sentence}.")
    if args.json:
        report_json(after.as_json())
    return 0


def rollback(repo: str, wish: Wish) -> tuple[Pointer, Pointer]:
    """Moves the pointer back; returns it before and after. Raises WordsError, ModelError where it cannot."""
    when = datetime.now(UTC).isoformat(
        timespec="seconds"
    )  # one time for all tries, so that a try is recognised

    def change(pointer: Pointer, commit: str) -> Pointer:
        number = _number(pointer, wish.to)
        back = pointer.earlier[number]
        _check(back, repo, commit)
        left = {"name": pointer.served.name, "sha256": pointer.served.sha256}
        said = {**left, "who": wish.who, "why": wish.why, "when": when}
        return Pointer(back, pointer.earlier[number + 1 :], said)

    return move_on_hub(repo, change) if repo else move_here(change)


def _number(pointer: Pointer, to: str) -> int:
    if not pointer.earlier:
        raise WordsError(
            f"Nothing was promoted before {pointer.served.sentence}, so there is nothing to go back to."
        )
    if not to:
        return 0
    for number, one in enumerate(pointer.earlier):
        if to == one.name or (one.sha256 and one.sha256.startswith(to)):
            return number
    known = "; ".join(one.sentence for one in pointer.earlier)
    raise WordsError(f"'{to[:40]}' is none of the models before. Known are {known}.")


def _check(back: Promotion, repo: str, commit: str) -> None:
    """The file of the model before is there and is itself."""
    if not back.file:
        return
    if repo or back.repo:
        there = hub.large_files(repo or back.repo, back.revision or commit or "main").get(back.file)
    else:
        path = home() / back.file
        there = sha256_of(path) if path.is_file() else None
    if there != back.sha256:
        state = "is gone" if there is None else f"has another sha256, {there[:8]}"
        raise ModelError(
            f"{back.file}, the file of {back.sentence}, {state}. Go further back with --to, "
            "or promote another model."
        )
