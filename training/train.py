"""`backtalk train RECIPE`: one run, that goes on by itself where it was interrupted.

    backtalk train recipes/mini_feedback.yaml
    backtalk train recipes/smoke.yaml --schedule.steps 20 --offline

Every knob of the recipe is a flag too. The result is BACKTALK_HOME/runs/ID: the adapter, metrics.jsonl,
loss.png, and last card.json.
"""

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backtalk.card import read_card
from backtalk.config import add_flags
from backtalk.errors import BacktalkError
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json
from training.recipe import Method, Recipe, read_recipe

INTERRUPTED = 130
SMALLEST: dict[Method, int] = {"sft": 1, "kto": 2, "dpo": 1}  # rows at once
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
NO_ROOM = ("No space left", "file write failed", "os error 28", "enforce fail at inline_container")


def main(argv: list[str]) -> int:
    """`backtalk train`."""
    args = _parser().parse_args(argv)
    quiet(args.offline)
    recipe = read_recipe(args.recipe, vars(args))
    with calm(recipe):
        # Loaded here: the libraries read the environment when they are loaded, and take seconds.
        from training.backends import load_first

        load_first(recipe)
        from training.run import prepare, train

        progress = Progress()
        ready = prepare(recipe, args.offline, progress)
        for line in ready.told():
            progress.done(line)
        outcome = train(ready, args.fresh, progress, progress.done)
    if not outcome.finished:
        progress.done(f"Stopped after step {outcome.step:,} of {outcome.steps:,}; nothing is lost.")
        print(f"Go on with: backtalk train {args.recipe}")
        return INTERRUPTED
    metrics = read_card(outcome.folder).metrics
    progress.done(f"{outcome.id}: {outcome.steps:,} steps, loss {metrics['loss_of_last_tenth']:.4f}")
    print(f"{outcome.folder}\nNext: backtalk export {outcome.id}")
    if args.json:
        report_json({"id": outcome.id, "folder": str(outcome.folder), "metrics": metrics})
    return 0


def _parser() -> Parser:
    parser = Parser(
        "train",
        "One run of a recipe. It saves checkpoints, and the same command goes on where it was interrupted.",
        example="backtalk train recipes/mini_feedback.yaml\n"
        "backtalk train recipes/smoke.yaml --schedule.steps 20 --offline",
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="the recipe's YAML file")
    parser.add_argument("--fresh", action="store_true", help="start over, whatever there is of this run")
    parser.add_argument(
        "--offline", action="store_true", help="never touch the network; datasets by our own samples of them"
    )
    parser.add_json()
    add_flags(parser.add_argument_group("knobs of the recipe"), Recipe)  # type: ignore[arg-type]
    return parser


def quiet(offline: bool) -> None:
    """No telemetry, no bars and no chatter; with `offline` the libraries refuse the network themselves."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch: huge pages for large tensors, where allowed
    # The older of the two stacks knows no other name for gradient checkpointing.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    if offline:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"


@contextmanager
def calm(recipe: Recipe) -> Iterator[None]:
    """A full memory or a full disk as one sentence; any other fault stays what it is."""
    try:
        yield
    except BacktalkError:
        raise
    except (RuntimeError, MemoryError, OSError) as fault:
        sentence = _told(fault, recipe)
        if not sentence:
            raise
        raise BacktalkError(sentence) from fault


def _told(fault: BaseException, recipe: Recipe) -> str:
    """What a person is told of a fault of the machine; empty where it is none."""
    if _is_full(fault):
        return (
            "The disk is full, so the last checkpoint was not written; those before it are whole. "
            "Make room, or set BACKTALK_HOME to a larger disk, and run the same command: it goes on."
        )
    if isinstance(fault, MemoryError) or any(sign in str(fault) for sign in NO_MEMORY):
        return f"The memory is not enough for this step. Most help: {' and '.join(_savings(recipe))}."
    return ""


def _is_full(fault: BaseException) -> bool:
    chain: list[BaseException] = [fault]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    return any(
        getattr(one, "errno", None) == errno.ENOSPC or any(sign in str(one) for sign in NO_ROOM)
        for one in chain
    )


def _halved(method: Method, recipe: Recipe) -> str:
    """Half as many rows at once in one of the methods, and twice as many times."""
    batch, section = recipe.of(method).batch, "batch" if method == "sft" else method
    size = max(batch.size // 2, SMALLEST[method])
    return f"{section}: {{size: {size}, accumulation: {batch.accumulation * 2}}}"


def _savings(recipe: Recipe) -> list[str]:
    """The two settings that would save the most, with values."""
    batch, found = recipe.batch, []
    if recipe.gradient_checkpointing is not True:
        found.append("gradient_checkpointing: true")
    found += [_halved(name, recipe) for name in recipe.methods if recipe.of(name).batch.size > SMALLEST[name]]
    found.append(f"batch.max_length: {batch.max_length // 2}")
    if not recipe.base.load_in_4bit:
        found.append("base.load_in_4bit: true (on CUDA)")
    return found[:2]
