"""`backtalk experiment run RECIPE`: many configurations of one recipe, side by side, and a report.

    backtalk experiment run recipes/experiments/samsum_gpt2_prompt_rank_lr.yaml --offline --base mini

What it will take is said before it starts; --plan says it and ends. Ctrl-C, or a kill, and the same command
goes on with every configuration from its last chunk. --engine ray trains them as trials of Ray Tune; either
engine goes on with what the other began.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from backtalk import __version__
from backtalk.config import to_plain
from backtalk.errors import WordsError
from backtalk.files import canonical_json, read_json, write_json
from backtalk.home import home
from backtalk.malloc import keep_no_buffers
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json
from training.experiment.expand import expand
from training.experiment.recipe import Asked, read_experiment
from training.experiment.state import alone
from training.train import INTERRUPTED, calm, quiet


def main(argv: list[str]) -> int:
    """`backtalk experiment run`."""
    args = _parser().parse_args(argv)
    _check_engine(args)
    quiet(args.offline)
    keep_no_buffers()
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    asked = read_experiment(args.recipe, _changes(args), args.scale)
    first = asked.recipe("first", {one.name: one.values[0] for one in asked.knobs})
    progress = Progress()
    with calm(first):
        # Loaded here: the libraries read the environment when they are loaded, and take seconds.
        from training.experiment.prepare import Preparation

        preparation = Preparation(asked, args.offline, progress)
        prepared = [preparation.add(one) for one in expand(asked)]
        folder = home() / "experiments" / _identity(asked, prepared)
        prepared = [preparation.housed(one, folder) for one in prepared]
        split = preparation.split(first.seed)
        told = _told(asked, prepared, split)
        for line in told:
            progress.done(line)
        if args.plan:
            return 0
        from training.experiment.finish import finish, is_finished

        with alone(folder):
            if not is_finished(folder):
                write_json(folder / "recipe.json", _as_json(asked, args))
                with _engines(args, told) as make_engine:
                    engine = make_engine(asked, folder, preparation, progress)
                    if not _trained(engine, prepared, split):
                        progress.done("Stopped at the end of a chunk; nothing is lost.")
                        print(f"Go on with: backtalk experiment run {args.recipe}{_engine_flags(args)}")
                        return INTERRUPTED
                finish(engine, told)
    print((folder / "results.txt").read_text(encoding="utf-8"), end="")
    print(f"{folder}\nRead: {folder / 'EXPERIMENT_REPORT.md'}")
    if args.json:
        card = read_json(folder / "card.json")
        report_json({"id": folder.name, "folder": str(folder), "metrics": card["metrics"]})
    return 0


def _trained(engine: Any, prepared: Sequence[Any], split: Any) -> bool:
    """Whether all steps are taken; False where it was interrupted."""
    with engine.stop.listening():
        for one in prepared:
            engine.enter(one)
        engine.recall(split)
        return bool(engine.run())


@contextmanager
def _engines(args: Any, told: list[str]) -> Iterator[Callable[..., Any]]:
    """What makes the engine that was asked for; a cluster is there for as long as the block runs."""
    from training.watch import Stop

    if args.engine == "local":
        from training.experiment.engine import Engine

        yield lambda asked, folder, preparation, progress: Engine(
            asked, folder, preparation, progress, Stop()
        )
        return
    from training.experiment.engines.trials import RayEngine
    from training.experiment.engines.with_ray import Cluster

    with Cluster(args.address, args.workers).joined() as groups:
        told.append(groups.told)
        yield lambda asked, folder, preparation, progress: RayEngine(
            asked, folder, preparation, progress, Stop(), groups, args.offline
        )


def _check_engine(args: Any) -> None:
    """Raises WordsError where the words do not go together, or Ray is not installed."""
    if args.engine == "local" and (args.address or args.workers):
        raise WordsError("--address and --workers are about a cluster. Give --engine ray as well.")
    if args.engine == "ray" and find_spec("ray") is None:
        raise WordsError(
            "--engine ray was asked for, and the Python package ray is not installed here. Install it "
            "(pip install 'backtalk[ray]', or make setup-ray in a checkout), or leave --engine out."
        )


def _engine_flags(args: Any) -> str:
    address = f" --address {args.address}" if args.address else ""
    return f" --engine ray{address}" if args.engine == "ray" else ""


def _told(asked: Asked, prepared: Sequence[Any], split: Any) -> list[str]:
    from training.experiment.cost import told

    dev, test = next(iter(split.dev.values())), next(iter(split.test.values()))
    compared = (
        sum(len(item.reference) + sum(len(one["content"]) for one in item.messages) for item in dev) // 3
    )
    plan = list(told(prepared, compared, asked.search))
    data = list(dict.fromkeys(line for one in prepared for line in one.ready.told()))
    return [*data, f"{len(dev)} development rows, {len(test)} test rows", *plan]


def _identity(asked: Asked, prepared: Sequence[Any]) -> str:
    """The experiment's name and 8 digits of what decides over it, as a run has them."""
    inputs = sorted({str(entry.get("sha256") or entry) for one in prepared for entry in one.ready.inputs})
    told = [__version__, asked.plain, to_plain(asked.search), inputs]
    return f"{asked.name}-{sha256(canonical_json(told)).hexdigest()[:8]}"


def _as_json(asked: Asked, args: Any) -> dict[str, Any]:
    return {
        "name": asked.name,
        "path": str(args.recipe),
        "offline": args.offline,
        "given": asked.given,
    }


def _changes(args: Any) -> dict[str, Any]:
    changes: dict[str, Any] = {"base.model": args.base, "base.revision": ""} if args.base else {}
    return {**changes, **dict(map(setting, args.set))}


def setting(text: str) -> tuple[str, Any]:
    """`KEY=VALUE` as key and value; the value is YAML, so that a list may stand there. Raises WordsError."""
    key, sign, value = text.partition("=")
    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError as fault:
        raise WordsError(f"--set {text}: the value is not YAML ({fault}).") from fault
    if not sign or not key:
        raise WordsError(f"--set {text}: KEY=VALUE was wanted, such as --set lora.r=8.")
    return key.strip(), found


def _parser() -> Parser:
    parser = Parser(
        "experiment run",
        "Many configurations of one recipe, whose values may be lists: trained side by side on one base in\n"
        "memory, compared from the first chunk on, and reported with error bars.",
        example="backtalk experiment run recipes/experiments/samsum_gpt2_prompt_rank_lr.yaml\n"
        "backtalk experiment run RECIPE --offline --base mini --set schedule.steps=8 --set lora.r=[4,8]\n"
        "backtalk experiment run RECIPE --engine ray --workers 2",
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="the experiment's YAML file")
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="all side by side on this machine, or each a trial of Ray Tune",
    )
    parser.add_argument(
        "--address", default="", help="of a Ray cluster that runs already (else one on this machine, for now)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="configurations that Ray trains at once (one for each GPU, or two)",
    )
    parser.add_argument("--plan", action="store_true", help="say what it would take, and end")
    parser.add_argument(
        "--offline", action="store_true", help="never touch the network; datasets by our own samples of them"
    )
    parser.add_argument(
        "--base", default="", metavar="MODEL", help="teach this base in place of the recipe's"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the recipe; a list too",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="times every number of steps, for a rehearsal",
    )
    parser.add_json()
    return parser
