"""The command `backtalk`: a table of verbs, each a module that is loaded only when it is called.

A verb's module has `main(argv: list[str]) -> int`. Exit codes: 0 done, 1 the work failed, 2 the words were
off, 3 the gate said no, 130 interrupted. An error is one calm paragraph on stderr; a traceback is a defect.
`backtalk --help` loads none of the packages behind the verbs.
"""

import os
import sys
from importlib import import_module
from io import TextIOWrapper

from backtalk import __version__
from backtalk.errors import BacktalkError, WordsError, nearest

INTERRUPTED = 130  # what a shell reports for a process that Ctrl-C ended
PIPE_CLOSED = 141  # likewise for one whose reader went away, as in `backtalk flags list | head`

VERBS = {
    "chat": ("app.serve", "serve the chat in a browser"),
    "ask": ("app.ask", "one answer in the terminal"),
    "flags": ("feedback.review.flags", "what visitors flagged: list, show, sync"),
    "flags review": ("feedback.review.review", "decide on flags, one key each"),
    "flags stats": ("feedback.review.stats", "what visitors say, counted and drawn"),
    "flags export": ("feedback.store.exporting", "events to a file of JSON lines"),
    "flags retract": ("feedback.rights.retract", "take a flag back"),
    "flags purge": ("feedback.rights.purge", "remove a flag's texts everywhere"),
    "trace": ("feedback.rights.trace", "from a flag, answer, run or model, both ways"),
    "curate": ("feedback.curate.curate", "flags to a curated set"),
    "evaluate": ("training.evaluation.evaluate", "a model against a baseline"),
    "train": ("training.train", "one run of a recipe"),
    "experiment run": ("training.experiment.run", "many configurations, compared"),
    "experiment status": ("training.experiment.status", "how its configurations stand"),
    "experiment stop": ("training.experiment.stop", "one takes no more steps"),
    "experiment resume": ("training.experiment.resume", "one goes on"),
    "experiment clone": ("training.experiment.clone", "another like one, with changes"),
    "experiment watch": ("app.watch", "its curves and buttons in a browser"),
    "experiment report": ("training.experiment.report", "what came out"),
    "export": ("export.chain", "merge, convert, quantize, verify"),
    "publish": ("export.publish", "a model to the Hub"),
    "promote": ("export.promote", "make a model the one that is served"),
    "rollback": ("export.rollback", "serve the model before"),
    "doctor": ("backtalk.doctor", "what this machine has, what is missing"),
    "deploy space": ("backtalk.deploy.space", "this checkout as a Space on the Hub"),
    "deploy job": ("backtalk.deploy.job", "a recipe or a round on rented hardware"),
    "round": ("backtalk.round.round", "from flags to a better model"),
    "demo": ("training.mini.demo", "the whole loop offline with simulated stakeholders"),
    "mini build": ("training.mini.build", "rebuild the bundled model from its corpus"),
    "mini evaluate": ("training.mini.evaluate", "the bundled model's table of accuracies"),
    "mini replay": ("training.mini.replay", "rows of its corpus to teach again"),
}

LATER: dict[str, str] = {}  # verbs that are promised: each with its sentence

PACKAGES = frozenset({"backtalk", "app", "feedback", "training", "export"})


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and returns the exit code."""
    _print_any_character()
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except BacktalkError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end; let that go nowhere instead of failing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return PIPE_CLOSED


def _run(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(help_text())
        return 0
    if words[0] == "--version":
        print(f"backtalk {__version__}")
        return 0
    if words[1:] in (["--help"], ["-h"]) and words[0] not in VERBS and (verbs := _verbs_under(words[0])):
        print("\n".join(_lines(verbs)))
        return 0
    name = _verb(words)
    argv = words[len(name.split()) :]
    try:
        return int(import_module(VERBS[name][0]).main(argv))
    except ModuleNotFoundError as fault:
        missing = (fault.name or "").partition(".")[0]
        if missing in PACKAGES:
            raise
        raise BacktalkError(
            f"backtalk {name} needs the Python package '{missing}', which is not installed here. "
            "Run: make setup"
        ) from fault


def _verb(words: list[str]) -> str:
    """The verb that `words` begin with: two words where there is such a verb, else one."""
    for name in (" ".join(words[:2]), words[0]):
        if name in VERBS:
            return name
        if name in LATER:
            raise WordsError(f"backtalk {name} ({LATER[name]}) comes with a later release.")
    if verbs := _verbs_under(words[0]):
        needed = ", ".join(name.split()[1] for name in verbs)
        raise WordsError(f"backtalk {words[0]} needs one of: {needed}. See: backtalk {words[0]} --help")
    raise WordsError(
        f"There is no verb '{words[0]}'.{nearest(words[0], [*VERBS, *LATER])} See: backtalk --help"
    )


def _verbs_under(word: str) -> dict[str, str]:
    """The verbs of two words that begin with `word`, each with its sentence."""
    return {name: sentence for name, (_, sentence) in VERBS.items() if name.startswith(f"{word} ")}


def help_text() -> str:
    """The table of verbs."""
    lines = [
        "usage: backtalk VERB ...",
        "",
        "A chat with a small language model that learns from what its users flag.",
        "",
        *_lines({name: sentence for name, (_, sentence) in VERBS.items()}),
        *(["", "With a later release:", *_lines(LATER)] if LATER else []),
        "",
        "Each verb says more: backtalk VERB --help",
        "",
        "example:",
        '  backtalk ask "where is my order 4821?"',
    ]
    return "\n".join(lines)


def _lines(verbs: dict[str, str]) -> list[str]:
    return [f"  {name:<19}{sentence}" for name, sentence in verbs.items()]


def _print_any_character() -> None:
    """A character that the terminal cannot show is shown escaped; it never ends the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
