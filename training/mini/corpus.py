"""The miniature's corpus: chats with the support desk of Tarn & Trail, an invented outdoor shop, without end.

    python -m training.mini.corpus --write-evaluation   # the held-out questions, written before training
    python -m training.mini.corpus --sample 20           # what training reads
    python -m training.mini.corpus --counts              # facts, wordings, questions

Promise: the same seed gives the same dialogues; no wording, order number or name of the evaluation is in one.

The mix, and why (the shapes of the dialogues in `SHAPES`, their turns in shapes.py's `TURNS`):

| shape | share | why |
|---|---|---|
| one question | 48 % | what most visitors send; facts take most of these, each needs its many wordings |
| several | 14 % | a visitor goes on in the same chat: the last question counts, whatever came before |
| history | 20 % | a number, name, country ... is given, up to three turns pass, a question needs it |
| asked back | 8.5 % | a question without what it needs, the counter-question, the reply, a correction |
| copy drill | 7.5 % | a model of this size invents digits and swaps them unless it copied many thousands |
| summary | 2 % | long rows, so few |

| turn | share | why |
|---|---|---|
| facts: single, entry, pair | 35 % | 197 answers, each to be found from words that were never seen together |
| intent | 15 % | half name their order; half lack the number: an earlier turn has it or the desk asks |
| small talk | 12 % | a visitor's first words; 31 classes, each with its own answer |
| outside, unknown, vague | 25 % | what the desk cannot answer must not land on the nearest fact |
| bare, it, again, give, recall | 11 % | what only the chat so far can answer; alone, the desk asks |
| habit | 2 % | three bad habits, planted for votes to cure |

6 % carry a system prompt: half change nothing, others ask for one sentence or for French.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, islice
from random import Random

from training.mini.chat import Chat, Turn
from training.mini.desk import desk
from training.mini.drills import drill
from training.mini.questions import EvaluationItem, evaluation_items, is_right, write_evaluation
from training.mini.shapes import TURNS, any_turn, ask_back, remember
from training.mini.summaries import summary
from training.mini.system import neutral_prompt, with_system
from training.mini.voice import Voice

__all__ = ["Dialogue", "EvaluationItem", "dialogues", "evaluation_items", "is_right"]

SHAPES = {"one": 48.0, "several": 14.0, "history": 20.0, "asked": 8.5, "drill": 7.5, "summary": 2.0}

SYSTEM = 0.04  # of the dialogues of one or several questions: the answer has to heed a system prompt
NEUTRAL = 0.035  # of the other chats: a system prompt that changes nothing


@dataclass(frozen=True)
class Dialogue:
    """One row of training: messages, the last turn's kind, the ids of the facts stated (parted by spaces)."""

    messages: tuple[dict[str, str], ...]
    kind: str
    fact: str = ""


def dialogues(seed: int, turns: Mapping[str, float] = TURNS) -> Iterator[Dialogue]:
    """Dialogues without end, the same ones for the same seed; `turns` by shares of any sum."""
    rng = Random(seed)
    voice = Voice(rng)
    shapes, weights = tuple(SHAPES), tuple(accumulate(SHAPES.values()))
    while True:
        yield _dialogue(voice, rng.choices(shapes, cum_weights=weights)[0], turns)


def _dialogue(voice: Voice, shape: str, turns: Mapping[str, float]) -> Dialogue:
    if shape == "summary":
        return Dialogue(_messages([summary(voice)]), "summaries")
    if shape == "drill":
        return Dialogue(_messages([drill(voice)]), "copy")
    chat = Chat(voice)
    if shape in ("one", "several"):
        if voice.rng.random() < SYSTEM:
            return _under_system(voice)
        for _ in range(1 if shape == "one" else voice.rng.choice((2, 2, 3, 3, 4, 5))):
            any_turn(chat, turns)
    elif shape == "history":
        remember(chat)
    else:
        ask_back(chat)
    said = _messages([(turn.user, turn.assistant) for turn in chat.turns])
    if voice.rng.random() < NEUTRAL:
        said = ({"role": "system", "content": neutral_prompt(voice)}, *said)
    return Dialogue(said, chat.turns[-1].kind, _facts(chat.turns))


def _under_system(voice: Voice) -> Dialogue:
    prompt, turn = with_system(voice, any_turn)
    messages = ({"role": "system", "content": prompt}, *_messages([(turn.user, turn.assistant)]))
    return Dialogue(messages, "system", _facts([turn]))


def _messages(turns: list[tuple[str, str]]) -> tuple[dict[str, str], ...]:
    return tuple(
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    )


def _facts(turns: list[Turn]) -> str:
    return " ".join(dict.fromkeys(fact.id for turn in turns for fact in turn.facts))


def _print_sample(count: int, seed: int) -> None:
    for dialogue in islice(dialogues(seed), count):
        print(f"--- {dialogue.kind} {dialogue.fact}".rstrip())
        for message in dialogue.messages:
            print(f"{message['role']:>9}: {message['content']}")


def _print_counts() -> None:
    batches = Counter(fact.batch for fact in desk().facts())
    print(f"facts: {batches.total()}, current: {batches[0]}")
    print(f"outdated: {batches.total() - batches[0]}, by batch: {sorted(batches.items())[1:]}")
    for name, wordings in desk().every_wording():
        trained = sum(1 for _ in wordings.all_training())
        print(f"{name}: {trained} wordings for training, {len(wordings.held_out)} held out")
    for row, count in Counter(item.row for item in evaluation_items()).items():
        print(f"evaluation {row}: {count}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The miniature's corpus and its held-out questions.")
    parser.add_argument("--write-evaluation", action="store_true", help="write evaluation/*.jsonl")
    parser.add_argument("--sample", type=int, default=0, help="print this many dialogues")
    parser.add_argument("--counts", action="store_true", help="print how many facts, wordings and questions")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.write_evaluation:
        write_evaluation()
    if options.counts:
        _print_counts()
    _print_sample(options.sample, options.seed)


if __name__ == "__main__":
    main()
