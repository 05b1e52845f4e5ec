"""Does the miniature's training ever read what its evaluation asks? Looked for in half a million dialogues.

    python bench/corpus.py [--quick] [--dialogues 500000] [--seed 7]

The tests look at the first dialogues of one seed (tests/training/mini/test_corpus.py); a build reads some
hundred thousand, so here it is done at that size. Nothing is kept in memory but what is looked for.
"""

import argparse
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import bound, report
from tests.training.mini.skeletons import NUMBER, skeleton_of
from training.mini import corpus
from training.mini.desk import desk
from training.mini.grammar import key
from training.mini.questions import evaluation_items

DIALOGUES, QUICK_DIALOGUES = 500_000, 50_000


def main() -> int:
    args = _words()
    found = look(args.dialogues, args.seed)
    bounds = [
        bound("dialogues read", args.dialogues, at_least=QUICK_DIALOGUES if args.quick else DIALOGUES),
        bound("held-out wordings among them", found["wordings"], at_most=0),
        bound("questions of the evaluation", found["questions"], at_most=0),
        bound("its order numbers", found["numbers"], at_most=0),
        bound("its system prompts", found["prompts"], at_most=0),
    ]
    report("corpus", bounds, messages=found["messages"])
    return 0 if all(entry.holds for entry in bounds) else 1


def look(dialogues: int, seed: int) -> Counter[str]:
    """How often something of the evaluation occurs in what training reads, and in how many messages."""
    items = evaluation_items()
    asked = {key(item.messages[-1]["content"]) for item in items}
    orders = {number for item in items if item.row == "copy" for number in NUMBER.findall(item.reference)}
    prompts = {key(prompt) for wordings in desk().system.values() for prompt in wordings.held_out}
    held_out = desk().held_out_keys
    found: Counter[str] = Counter()
    for dialogue in islice(corpus.dialogues(seed), dialogues):
        for message in dialogue.messages:
            text = message["content"]
            found["messages"] += 1
            if message["role"] == "system":
                found["prompts"] += key(text) in prompts
            elif message["role"] == "user":
                found["wordings"] += skeleton_of(text) in held_out
                found["questions"] += key(text) in asked
                found["numbers"] += not orders.isdisjoint(NUMBER.findall(text))
    return found


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_DIALOGUES:,} dialogues, below a minute")
    parser.add_argument("--dialogues", type=int, default=0, help=f"how many (default: {DIALOGUES:,})")
    parser.add_argument("--seed", type=int, default=7, help="of the dialogues (default: 7)")
    args = parser.parse_args()
    args.dialogues = args.dialogues or (QUICK_DIALOGUES if args.quick else DIALOGUES)
    return args


if __name__ == "__main__":
    sys.exit(main())
