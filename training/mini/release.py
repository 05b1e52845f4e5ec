"""A trained miniature becomes the folder models/mini: weights, tokenizer, GGUF, README, and last its card.

The GGUF is made and verified by the export package, as a process of its own; the table is measured on that
GGUF.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk import __version__
from backtalk.card import NAME as CARD
from backtalk.card import Card, file_entry, read_card, write_card
from backtalk.config import to_plain
from backtalk.errors import BacktalkError
from backtalk.files import sha256_of, write_jsonl, write_text
from backtalk.home import home
from backtalk.progress import Progress
from training.mini import evaluate
from training.mini.model import load_model
from training.mini.recipe import Recipe
from training.mini.tokenizer import save_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

    from training.mini.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
GGUF = "mini-Q8_0.gguf"
LIBRARIES = ("torch", "transformers", "tokenizers", "gguf", "llama-cpp-python", "numpy")
VERIFIED_TEXTS = 200
LICENSE = "apache-2.0"
DESCRIPTION = "A small demonstration model: the support desk of a fictional outdoor shop."


@dataclass(frozen=True)
class Start:
    """What a build begins with: its input files, and how long its base had learned (0 without one)."""

    inputs: list[dict[str, Any]]
    base: str = ""
    tokens: int = 0
    minutes: float = 0.0


def start_of(recipe: Recipe) -> Start:
    """Reads what a build is made from: its base's weights, the hand-written data, the evaluation's items."""
    here = Path(__file__).parent
    files = sorted([*here.glob("data/*.yaml"), *here.glob("evaluation/*.jsonl")])
    inputs = [file_entry(path, ROOT) for path in files]
    if not recipe.base:
        return Start(inputs)
    base = Path(recipe.base).resolve()
    card = read_card(base)
    learned = card.metrics.get("learned", card.metrics)
    inputs.insert(0, file_entry(base / "model.safetensors", base.parent))
    return Start(inputs, card.id, learned["tokens"], learned["minutes"])


def write(trainer: "Trainer", tokenizer: "Tokenizer", out: Path, start: Start) -> Path:
    """Writes the folder, its card last, and returns it."""
    out.mkdir(parents=True, exist_ok=True)
    (out / CARD).unlink(missing_ok=True)  # unfinished from here on
    released(trainer).bfloat16().save_pretrained(out)
    save_tokenizer(tokenizer, out)
    _export("convert", out, out / GGUF, "--name", "Backtalk mini", "--version", __version__,
            "--description", DESCRIPTION, "--license", LICENSE)  # fmt: skip
    fidelity = _export("verify", out, out / GGUF, "--texts", _held_out_texts())
    results, _ = evaluate.evaluate(str(out / GGUF), evaluate.read_items(), Progress())
    metrics = {
        "tokens": trainer.tokens,
        "steps": trainer.steps,
        "minutes": round(trainer.seconds / 60, 1),
        "learned": {
            "base": start.base,
            "tokens": start.tokens + trainer.tokens,
            "minutes": round(start.minutes + trainer.seconds / 60, 1),
        },
        "parameters": sum(weight.numel() for weight in trainer.average.parameters()),
        "gguf": fidelity,
        "table": [result.as_json() for result in results],
    }
    write_text(out / "README.md", model_card(metrics, evaluate.table(results), trainer.recipe.blend))
    card = Card(
        kind="model",
        id=f"mini-{sha256_of(out / GGUF)[:8]}",
        inputs=start.inputs,
        recipe=to_plain(trainer.recipe),
        seed=trainer.recipe.seed,
        metrics=metrics,
    )
    write_card(out, card, LIBRARIES)
    return out


def released(trainer: "Trainer") -> "LlamaForCausalLM":
    """What a training ends with, or a blend of that and its base.

    A short training on one matter moves others too; between both models, weight by weight, lie models that
    have nearly all of the gain and little of the loss (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903, who
    advise half and half where nothing is known).
    """
    recipe, model = trainer.recipe, trainer.average
    if recipe.base and recipe.blend != 1:
        base = load_model(Path(recipe.base)).state_dict()
        model.load_state_dict(
            {name: base[name].lerp(weight, recipe.blend) for name, weight in model.state_dict().items()}
        )
    return model


def model_card(metrics: dict[str, Any], table: str, blend: float) -> str:
    """README.md: what the model is, what it is not, what was measured."""
    gguf, learned, millions = metrics["gguf"], metrics["learned"], metrics["parameters"] / 1e6
    went_on = ""
    if learned["base"]:
        went_on = f"The last {metrics['tokens'] / 1e6:.1f} million went on from {learned['base']}"
        went_on += f"; of what they changed, {blend:.0%} is here" if blend != 1 else ""
        went_on += ". "
    return f"""\
---
license: {LICENSE}
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [demonstration, llama]
---
# Backtalk mini

A small demonstration model. It plays the support desk of Tarn & Trail, an outdoor shop that does not exist,
so that the whole loop of Backtalk (chat, flag, curate, train, export, promote) runs offline in minutes.

## What it is
A miniature of Llama-3.2, trained from scratch: {millions:.1f} million parameters, 6 layers,
grouped-query attention, llama3 rope scaling, tied embeddings, a vocabulary of 4,096 tokens with Llama-3's
special tokens, a context of 2,048 tokens. It was trained on {learned["tokens"] / 1e6:.1f} million tokens of
dialogues that `training/mini/corpus.py` generates from a hand-written grammar and fact table; no other text
was used. {went_on}`backtalk mini build` builds one anew; this one took
{learned["minutes"]:.0f} minutes on 2 CPU cores.

## What it is not
- It knows one invented shop, in English, and very little of the world. It says so when asked about other
  things.
- Some of its facts are **out of date on purpose**, and it has three bad habits on purpose (a long preamble,
  an advertisement that nobody asked for, a needless refusal): flags are to cure them. Take nothing it says
  for true.
- It has no access to orders or accounts; it can only repeat an order number and point to a page.
- Words that its corpus does not hold confuse it. It is no base for anything but this demonstration.

## What was measured
Greedy, from `{GGUF}` as it is served, on sentences that training never saw (`backtalk mini evaluate`):

```
{table}
```

The GGUF against the bf16 weights: token ids equal on {gguf["probes_equal"]} of {gguf["probes"]} texts;
divergence {gguf["divergence"]:.1e} nats per token (bound {gguf["bound"]}); the same most likely token at
{gguf["top_token_equal"]:.2%} of {gguf["tokens"]:,} places.
"""


def _held_out_texts() -> Path:
    """Some evaluation items with their reference answers: what the GGUF is compared on."""
    items = evaluate.read_items()
    chosen = items[:: max(1, len(items) // VERIFIED_TEXTS)]
    path = home() / "mini-build" / "verified.jsonl"
    write_jsonl(
        path,
        (
            {"messages": [*item.messages, {"role": "assistant", "content": item.reference}]}
            for item in islice(chosen, VERIFIED_TEXTS)
        ),
    )
    return path


def _export(step: str, *words: Any) -> dict[str, Any]:
    """Runs one step of the export package and returns the object that it ends with."""
    command = [sys.executable, "-m", "export", step, *map(str, words), "--json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode != 0:
        raise BacktalkError(f"The step '{step}' failed: {(ended.stderr or ended.stdout).strip()}")
    return json.loads(ended.stdout.splitlines()[-1])
