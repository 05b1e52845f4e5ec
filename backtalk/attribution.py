"""What a model's licence wants to be said wherever people meet the model.

    built_with(resolve("llama-3.2-1b"))     "Built with Llama"
    built_with(resolve("mini"))             ""

A model that was made from Llama is known by what its file states of itself (licence, base models, name) and
by the names that it goes by; the architecture alone, which many share, says nothing.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache

from backtalk.errors import ModelError
from backtalk.gguf_check import head
from backtalk.models import Model

# "Llama-3.2-1B", "llama3.2", "Llama 3.2 Community License"; not TinyLlama, not the size in "llama-1b".
LLAMA = re.compile(r"(?<![a-z])llama[\s_.-]*(\d)(?!\d|b)(?:[\s_.-]?(\d)(?!\d|b))?", re.IGNORECASE)
STATED = re.compile(
    r"general\.(name|basename|license|license\.name|license\.link|base_model\.\d+\.(name|repo_url|url))"
)
MARK = "Llama"


def llama_version(texts: Iterable[str]) -> str:
    """The version of Llama that the first of these texts names, as "3.2"; empty where none names one."""
    for text in texts:
        if found := LLAMA.search(text):
            return f"{found[1]}.{found[2]}" if found[2] else found[1]
    return ""


@cache
def built_with(model: Model) -> str:
    """The words that the page has to show beside this model; empty where its licence asks for none."""
    return f"Built with {MARK}" if llama_version(_stated(model)) else ""


def _stated(model: Model) -> Iterator[str]:
    """Every name that the model goes by; a file that is not there states nothing."""
    yield from (model.name, model.repo, model.path.name)
    try:
        values = head(model.path)
    except ModelError:
        return
    yield from (str(value) for key, value in values.items() if STATED.fullmatch(key))
