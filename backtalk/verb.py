"""What every verb shares: a parser that speaks calmly, and the one JSON line that `--json` promises.

A verb is a module with `main(argv: list[str]) -> int`:

    parser = Parser("ask", "One answer in the terminal.", example='backtalk ask "where is my order 4821?"')
    parser.add_json()
    args = parser.parse_args(argv)

Wrong words raise `WordsError` (exit code 2) and name the nearest flag; only `--help` ends the process.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from backtalk.errors import WordsError, nearest

HELP_COLUMNS = 100  # one width everywhere, so that docs/help.md does not depend on a terminal


class Parser(argparse.ArgumentParser):
    """An argument parser for one verb: its example is shown as written, a typo names the nearest flag."""

    def __init__(self, verb: str = "", purpose: str = "", *, example: str = "", **options: Any) -> None:
        options.setdefault("prog", f"backtalk {verb}".strip())
        options.setdefault("description", purpose or options.get("help"))
        options.setdefault("epilog", f"example:\n{_indented(example)}" if example else None)
        options.setdefault(
            "formatter_class", partial(argparse.RawDescriptionHelpFormatter, width=HELP_COLUMNS)
        )
        options.setdefault(
            "allow_abbrev", False
        )  # an abbreviation is a typo that works until a flag is added
        super().__init__(**options)

    def add_json(self) -> None:
        """Adds `--json`; the verb then ends with `report_json(...)`."""
        self.add_argument("--json", action="store_true", help="make the last line one JSON object")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Like the original, but an unknown word is an error here, where this verb's own flags are known."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            raise WordsError(self._about_unknown(unknown[0]))
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        sentence = message if message.endswith(("?", ".")) else f"{message}."
        raise WordsError(f"{self.prog}: {sentence} {self._see_help()}")

    def _about_unknown(self, word: str) -> str:
        name = word.partition("=")[0]
        kind = "flag" if name.startswith("-") else "word"
        return f"{self.prog} has no {kind} '{name}'.{nearest(name, self._flags())} {self._see_help()}"

    def _flags(self) -> Iterator[str]:
        for action in self._actions:
            yield from action.option_strings

    def _see_help(self) -> str:
        return f"See: {self.prog} --help"


def report_json(value: Mapping[str, Any]) -> None:
    """Prints `value` as one line of JSON: ASCII only, so that any terminal and any pipe carries it."""
    print(json.dumps(value), flush=True)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
