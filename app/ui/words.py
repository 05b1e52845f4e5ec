"""The page's words from words.yaml: the shell takes them as $name, the scripts as one object."""

from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("words.yaml")


def read_words() -> dict[str, Any]:
    """All words by name; `shop` and `anything` are groups, the rest is text."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))
