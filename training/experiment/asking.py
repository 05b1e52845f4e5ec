"""What stop, resume and clone share: find the experiment, leave the request, say when it will be done."""

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backtalk.errors import WordsError, nearest
from backtalk.files import read_json
from backtalk.verb import Parser, report_json
from training.experiment.control import Action, Request, ask
from training.experiment.state import find_experiment, is_running, read_state


def ask_for(action: Action, argv: list[str], purpose: str) -> int:
    """A verb that asks for one thing of one configuration."""
    args = asker(action, purpose).parse_args(argv)
    return leave(Request(action, args.configuration), args)


def asker(action: Action, purpose: str, more: str = "") -> Parser:
    """The words of such a verb."""
    parser = Parser(
        f"experiment {action}", purpose, example=f"backtalk experiment {action} samsum_gpt2 c3{more}"
    )
    parser.add_argument("id", metavar="ID", help="the experiment, or how its name begins")
    parser.add_argument("configuration", metavar="CONFIGURATION", help="its name, such as c3")
    parser.add_argument("--by", default="", metavar="NAME", help="who asks, for the report (your user name)")
    parser.add_json()
    return parser


def leave(request: Request, args: Any) -> int:
    """Leaves the request with the experiment. Raises WordsError where there is no such configuration."""
    folder = find_experiment(args.id)
    names = [line.name for line in read_state(folder).lines if line.standing != "baseline"]
    if request.configuration not in names:
        raise WordsError(
            f"{folder.name} has no configuration '{request.configuration}'."
            f"{nearest(request.configuration, names)} It has {', '.join(names)}."
        )
    left = ask(folder, request, args.by or _user())
    print(f"{request.action} {request.configuration}: asked as {left.by}. {_when(folder)}")
    if args.json:
        report_json({"id": left.id, "experiment": folder.name})
    return 0


def check_changes(folder: Path, changes: Mapping[str, Any]) -> None:
    """Raises WordsError for a key or a value that the experiment's recipe does not take."""
    from training.experiment.recipe import asked_from

    told = read_json(folder / "recipe.json")
    asked = asked_from(told["name"], {**told["given"]}, folder.name)
    asked.recipe("clone", {**{one.name: one.values[0] for one in asked.knobs}, **changes})


def _when(folder: Path) -> str:
    if is_running(folder):
        return "It is done at the end of the chunk that runs now."
    again = f"backtalk experiment run {read_json(folder / 'recipe.json')['path']}"
    return f"No process works on the experiment now; it is done when you run it again: {again}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        return "unknown"
