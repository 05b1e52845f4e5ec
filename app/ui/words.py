"""What the page says: one file for each language in words/, the same words in each.

    read_words("fr")["send"]        "Envoyer"
    languages()                     {"en": "English", "fr": "Français"}
    wanted("fr-CA,fr;q=0.9,en")     "fr"

A new language is one new file. The shell takes words as $name, the scripts as words.name, and {braces} are
filled in where a sentence is shown. Each tab has its words in a group of its name.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("words")
ENGLISH = "en"


def read_words(language: str = ENGLISH) -> dict[str, Any]:
    """All words of a language by name; groups are objects, the rest is text."""
    return yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))


@cache
def tags() -> list[str]:
    """The languages by their tags, English first."""
    return sorted((path.stem for path in FOLDER.glob("*.yaml")), key=lambda tag: (tag != ENGLISH, tag))


@cache
def languages() -> dict[str, str]:
    """What each language calls itself, by its tag, English first."""
    return {tag: str(read_words(tag)["language_name"]) for tag in tags()}


def wanted(accepted: str) -> str:
    """The first language of a header Accept-Language that we have: browsers name the dearest one first."""
    named = (part.split(";")[0].strip().lower().split("-")[0] for part in accepted.split(","))
    return next((tag for tag in named if tag in tags()), ENGLISH)
