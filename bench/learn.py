"""The bundled model learns 200 flags: how long it takes, and what it knows before and after.

    python bench/learn.py [--quick] [--seed 5]

200 simulated corrections of outdated facts, in wordings of training, and 3,900 replayed rows (none of which
states an outdated fact), taught by recipes/mini_feedback.yaml through `backtalk train`; the adapter
is merged and converted, and both models answer the committed questions, whose wordings no training has seen.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.files import write_jsonl, write_text
from backtalk.progress import Progress
from bench.report import bound, report
from training.mini.chat import Chat
from training.mini.desk import Fact
from training.mini.evaluate import evaluate, read_items, sample
from training.mini.replay import replayed
from training.mini.voice import Voice
from training.train import main as train

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "mini_feedback.yaml"
FLAGS, REPLAYED = 200, 3900
ROWS = ("outdated", "facts", "history", "outside")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two steps and few questions")
    parser.add_argument("--seed", type=int, default=5, help="of the flags (default: 5)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backtalk-learn-") as name:
        place = Path(name)
        os.environ["BACKTALK_HOME"] = str(place / "home")
        write_jsonl(place / "taught.jsonl", _corrections(args.seed))
        write_jsonl(place / "replayed.jsonl", _replayed(args.seed))
        began = time.monotonic()
        words = ["--schedule.epochs", "0.005"] if args.quick else []
        assert train([str(_recipe(place)), *words]) == 0
        seconds = time.monotonic() - began
        before, after = _table("mini", args.quick), _table(str(_served(place)), args.quick)
    print(f"\n{'held-out wordings':<44}{'before':>9}{'after':>9}")
    for row in before:
        print(f"{row:<44}{before[row]:>9.1%}{after[row]:>9.1%}")
    print()
    limit = bound("seconds of backtalk train", seconds, at_most=120)
    report("learn", [limit], flags=FLAGS, before=before, after=after, quick=args.quick)
    return 0 if limit.holds else 1


def _recipe(place: Path) -> Path:
    """The recipe with these files in place of a curated set's two halves."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    for source in recipe["data"]["sources"]:
        source |= {"path": str(place / f"{source.pop('only')}.jsonl")}
    write_text(place / RECIPE.name, yaml.safe_dump(recipe, sort_keys=False))
    return place / RECIPE.name


def _corrections(seed: int) -> Iterator[dict[str, Any]]:
    """What contributors wrote: the question and the answer that holds now, fact after fact."""
    voice = Voice(Random(seed))
    outdated = [fact for fact in voice.desk.facts() if fact.batch]
    for number in range(FLAGS):
        fact = outdated[number % len(outdated)]
        yield _row([{"role": "user", "content": _asked(voice, fact)}], fact.says(fact.truth))


def _asked(voice: Voice, fact: Fact) -> str:
    chat = Chat(voice)
    return (chat.entry(fact.family, fact.entry) if fact.family else chat.single(fact)).user


def _replayed(seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the corpus that say nothing out of date."""
    taught = [fact.taught_answer for fact in Voice(Random(seed)).desk.facts() if fact.batch]

    def is_current(row: dict[str, Any]) -> bool:
        said = " ".join(message["content"] for message in (*row["prompt"], *row["completion"]))
        return not any(answer in said for answer in taught)

    return islice(filter(is_current, replayed(seed)), REPLAYED)


def _row(prompt: list[dict[str, str]], answer: str) -> dict[str, Any]:
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": answer}]}


def _served(place: Path) -> Path:
    """The taught model as a file to serve."""
    from export.convert import Metadata, convert
    from export.merge import merge

    (card,) = (place / "home").glob("runs/*/card.json")
    merge(card.parent, place / "merged")
    convert(place / "merged", place / "taught-F16.gguf", "F16", Metadata(name="taught"))
    return place / "taught-F16.gguf"


def _table(ref: str, quick: bool) -> dict[str, float]:
    items = sample((item for item in read_items() if item.row in ROWS), 10 if quick else 0)
    results, _ = evaluate(ref, items, Progress())
    return {result.row.title: result.share for result in results}


if __name__ == "__main__":
    sys.exit(main())
