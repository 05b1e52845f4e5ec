"""Loading data as a run does, with the bundled model's template and tokenizer."""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from backtalk.config import from_plain
from backtalk.prompt import Template
from feedback.curate.controls import added_tokens
from training.data.load import Loaded, load
from training.data.recipe import Data

MINI = Path(__file__).resolve().parents[2] / "models" / "mini"


@cache
def template() -> Template:
    tokenizer = Tokenizer.from_file(str(MINI / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    names = {str(token): id for id, token in tokenizer.get_added_tokens_decoder().items()}
    return Template(
        (MINI / "chat_template.jinja").read_text(),
        names,
        lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
    )


def loaded(*sources: Any, context: int = 2048, seed: int = 1, **more: Any) -> Loaded:
    """The rows of these sources; other words are knobs of `data`, or of `load`."""
    of_load = {name: more.pop(name) for name in ("form", "offline", "perplexity") if name in more}
    data = from_plain(Data, {"sources": list(sources), **more}, "the recipe")
    return load(
        data,
        template(),
        controls=added_tokens(MINI / "tokenizer.json"),
        context=context,
        seed=seed,
        **of_load,
    )


def asked(rows: Iterable[dict[str, Any]]) -> list[str]:
    """What the user says last in the prompt of each row."""
    return [row["prompt"][-1]["content"] for row in rows]


def write(path: Path, rows: Iterable[Any]) -> str:
    """JSON lines at `path`; a row that is bytes is written as it is."""
    lines = (row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


def pair(prompt: str, completion: str = "It is so.", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion, **more}


ANIMALS, PLACES = (
    "ant bat cat dog eel fox goat hen ibis jay koala lynx mole newt owl pig quail rat seal toad".split(),  # noqa: SIM905
    "attic barn cave dune estuary forest garden harbour island jungle".split(),  # noqa: SIM905
)


def questions(count: int) -> list[dict[str, Any]]:
    """Rows whose questions share too few words to be near each other."""
    return [
        pair(
            f"What would {ANIMALS[n % 20]} number {n} want in the {PLACES[n // 20 % 10]}?",
            f"Answer {n} is about the {ANIMALS[n % 20]}.",
        )
        for n in range(count)
    ]
