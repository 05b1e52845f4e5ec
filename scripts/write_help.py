"""Writes docs/help.md from `--help` of the command and of every verb; a test fails when it is out of date.

make docs
"""

import io
import re
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path

from backtalk.cli import VERBS, help_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "help.md"
INTRODUCTION = "Written by `make docs` from what each verb says of itself; do not edit it here."
OWN_VERBS = re.compile(r"^ {4}([a-z]+) ", re.MULTILINE)  # what argparse lists under a verb that has verbs


def write_help() -> str:
    """The whole page."""
    parts = ["# Every verb, by its own help", INTRODUCTION, _section("backtalk", help_text())]
    for name in VERBS:
        text = help_of(name)
        parts.append(_section(f"backtalk {name}", text))
        for own in OWN_VERBS.findall(text):
            parts.append(_section(f"backtalk {name} {own}", help_of(name, own)))
    return "\n\n".join(parts) + "\n"


def help_of(name: str, *own: str) -> str:
    """What `backtalk NAME --help` prints."""
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        import_module(VERBS[name][0]).main([*own, "--help"])
    return printed.getvalue().strip()


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```"


if __name__ == "__main__":
    PAGE.write_text(write_help(), encoding="utf-8")
