"""Prompt variants: named Jinja templates that make a user's message of a row's columns.

    variant = find_variant("summary", recipe.prompts)
    variant.message({"dialogue": "...", "summary": "..."})

A recipe's own variants, given under `prompts`, come before those of training/prompts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from backtalk.errors import BacktalkError, WordsError, nearest
from backtalk.prompt import Template

FOLDER = Path(__file__).resolve().parents[1] / "prompts"
SHOWN = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)(?!\w*\s*\()")  # the first name of each {{ expression }}
MADE = re.compile(r"\{%-?\s*(?:set|for)\s+([A-Za-z_]\w*)")  # names that the template makes itself
OWN = {"loop", "true", "false", "none"}


@dataclass(frozen=True)
class Variant:
    """A template with its name."""

    name: str
    source: str

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that it shows, in order."""
        shown = dict.fromkeys(SHOWN.findall(self.source))
        return tuple(name for name in shown if name not in {*MADE.findall(self.source), *OWN})

    def check(self, columns: Mapping[str, Any], where: str) -> None:
        """Raises one sentence where the template shows a column that is not there: it would be left empty."""
        for name in self.columns:
            if name not in columns:
                raise BacktalkError(
                    f"The prompt variant '{self.name}' shows the column '{name}', and {where} has "
                    f"{', '.join(columns)}.{nearest(name, columns)}"
                )

    def message(self, row: Mapping[str, Any]) -> str:
        """The user's message for a row."""
        return _compiled(self.source, tuple(row)).render([row], generate=False).strip()

    def question(self, row: Mapping[str, Any]) -> str:
        """What the row itself asks, without the words that every row of this variant has in common."""
        return "\n".join(str(row[name]) for name in self.columns if name in row) or self.message(row)


def find_variant(name: str, own: Mapping[str, str]) -> Variant:
    """The variant with this name. Raises WordsError where there is none."""
    if name in own:
        return Variant(name, str(own[name]))
    path = FOLDER / f"{name}.jinja"
    if path.parent != FOLDER or not path.is_file():
        known = [*own, *variants()]
        raise WordsError(
            f"There is no prompt variant '{name}'; there are {', '.join(known)}.{nearest(name, known)}"
        )
    return Variant(name, path.read_text(encoding="utf-8"))


def variants() -> list[str]:
    """The names of the variants that come with Backtalk."""
    return sorted(path.stem for path in FOLDER.glob("*.jinja"))


@cache
def _compiled(source: str, columns: tuple[str, ...]) -> Template:
    """Templates are compiled by backtalk.prompt alone, which shows them messages: here the row is the one."""
    names = "".join(
        f"{{%- set {name} = messages[0]['{name}'] -%}}" for name in columns if name.isidentifier()
    )
    return Template(names + source, {}, lambda text: [])
