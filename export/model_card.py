"""README.md of a published model: the metadata that the Hub reads, what was measured, how to run it.

The same export gives the same text, so that publishing it again changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from backtalk.models import POINTER
from export.exported import Export, Gguf
from export.licence import Licence
from export.origin import Origin

PICTURE = "quality_vs_size.png"
TAGS = ("gguf", "llama.cpp", "conversational", "backtalk")
MEASURES = {  # keys of a file's row: as the table calls them, as the model index calls them
    "divergence": ("KL from the unquantized model, nats per token", "kl_divergence"),
    "top_token_equal": ("same most likely token", "top_1_agreement"),
    "perplexity": ("perplexity", "perplexity"),
}


@dataclass(frozen=True)
class Page:
    """All that the page speaks of."""

    repo: str
    export: Export
    files: Sequence[Gguf]
    origin: Origin
    licence: Licence
    verdict: Mapping[str, Any]


def model_card(page: Page) -> str:
    """The whole README.md."""
    front = yaml.safe_dump(metadata(page), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{front}---\n" + "\n".join(_text(page)) + "\n"


def metadata(page: Page) -> dict[str, Any]:
    """What the Hub reads: licence, base, data sets, tags, library, and our metrics as its model index."""
    bases = {"base_model": page.origin.bases, "base_model_relation": "quantized"} if page.origin.bases else {}
    datasets = {"datasets": page.origin.datasets} if page.origin.datasets else {}
    return {
        "license": page.licence.id,
        **bases,
        **datasets,
        "library_name": "gguf",
        "pipeline_tag": "text-generation",
        "tags": [*TAGS, *(["llama"] if page.licence.display else [])],
        "model-index": [{"name": _name(page), "results": list(_results(page))}],
    }


def _results(page: Page) -> Iterator[dict[str, Any]]:
    """One result for each file and measure, in the form that the Hub's own library reads."""
    for file in page.files:
        metrics = [
            {"type": kind, "name": f"{title} ({file.quant})", "value": value}
            for key, (title, kind) in MEASURES.items()
            if (value := file.number(key)) is not None
        ]
        if metrics:
            yield {
                "task": {"type": "text-generation"},
                "dataset": {"name": f"held-out text, {file.path.name}", "type": "held-out"},
                "metrics": metrics,
            }


def _text(page: Page) -> Iterator[str]:
    yield f"# {_name(page)}\n"
    if page.licence.display:
        yield f"**{page.licence.display}**\n"
    yield from _description(page)
    yield "## Files\n"
    yield from _table(page)
    if (page.export.folder / PICTURE).is_file():
        yield f"\n![Quality and size of each file]({PICTURE})"
    yield "\n## How to run it\n"
    yield from _commands(page)
    if page.verdict:
        yield from _verdict(page.verdict)
    yield from _licence(page.licence)
    yield "\n## Where it comes from\n"
    yield (
        "`card.json` names every input and output of the export by its sha256; with Backtalk, "
        "`backtalk trace` follows them\nto the flags that taught the model."
    )


def _description(page: Page) -> Iterator[str]:
    base = f" of {', '.join(page.origin.bases)}" if page.origin.bases else ""
    taught = f", taught by {page.origin.round} rounds of flags" if page.origin.round else ""
    yield (
        f"A small chat model in the GGUF format: a fine-tuned descendant{base}{taught}. Each file below was "
        "compared with the\nunquantized model before it was published.\n"
    )


def _table(page: Page) -> Iterator[str]:
    known = [key for key in MEASURES if all(file.number(key) is not None for file in page.files)]
    yield _row("file", "MB", *(MEASURES[key][0] for key in known), "sha256")
    yield _row(*["---"] * (len(known) + 3))
    for file in page.files:
        values = (_shown(key, file.number(key) or 0.0) for key in known)
        yield _row(f"`{file.path.name}`", f"{file.bytes / 1e6:.1f}", *values, f"`{file.sha256[:16]}`")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(key: str, value: float) -> str:
    return {"divergence": f"{value:.1e}", "top_token_equal": f"{value:.2%}"}.get(key, f"{value:.2f}")


def _commands(page: Page) -> Iterator[str]:
    first = page.files[0]
    yield "```sh"
    yield f"llama-cli -hf {page.repo}:{first.quant}                 # llama.cpp"
    yield f"ollama run hf.co/{page.repo}:{first.quant}              # Ollama"
    yield f"backtalk chat --model hf://{page.repo}/{first.path.name}     # Backtalk"
    yield f"backtalk chat --model hf://{page.repo}/{POINTER}     # Backtalk: whichever is promoted"
    yield "```\n"
    yield "A private repository wants a token: `HF_TOKEN` for llama.cpp and Backtalk, an SSH key for Ollama."


def _verdict(verdict: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Verdict\n"
    yield f"**{verdict['verdict']}**: {verdict.get('why') or 'no reason was written down'}\n"
    intervals = verdict.get("intervals")
    if isinstance(intervals, dict) and intervals:
        yield _row("measure", "interval")
        yield _row("---", "---")
        yield from (_row(str(name), _interval(value)) for name, value in intervals.items())


def _interval(value: Any) -> str:
    if isinstance(value, list) and all(map(_is_number, value)):
        return " to ".join(f"{number:g}" for number in value)
    return str(value)


def _licence(licence: Licence) -> Iterator[str]:
    if not licence.files:
        return
    yield "\n## Licence\n"
    yield (
        f"{licence.files['NOTICE'].decode().strip()} The agreement is in [LICENSE](LICENSE), the notice in "
        f"[NOTICE](NOTICE);\nuse follows the [acceptable use policy]({licence.policy})."
    )


def _name(page: Page) -> str:
    return page.repo.partition("/")[2]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
