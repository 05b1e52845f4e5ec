"""The miniature's corpus: chats with the support desk of Tarn & Trail, an invented outdoor shop, without end.

    python -m training.mini.corpus --write-evaluation   # the held-out questions, written before training
    python -m training.mini.corpus --sample 20           # what training reads
    python -m training.mini.corpus --counts              # facts, wordings, questions

Promise: the same seed gives the same dialogues; no wording, order number or name of the evaluation occurs in one.

The mix, and why (shares of the dialogues in `SHAPES`, of their turns in `TURNS`):

| shape | share | why |
|---|---|---|
| one question | 56 % | what most visitors send; facts take half of these, as each needs its many wordings |
| several questions | 14 % | a visitor goes on in the same chat: the last question counts, whatever came before |
| history | 17 % | a number, name, country, product ... given early, up to three other turns, a question that needs it |
| asked back | 5 % | the question without what it needs, the counter-question, the reply, a correction |
| copy drill | 5.5 % | without drills a model of this size invents digits; with them it copies what it never saw |
| summary | 2.5 % | long rows, so few |

4 % carry a system prompt: most change nothing, some ask for one sentence or for French.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from random import Random

from training.mini.chat import SLOTS, Chat, Turn
from training.mini.drills import drill
from training.mini.summaries import summary
from training.mini.system import with_system
from training.mini.voice import Voice

SHAPES = {"one": 56.0, "several": 14.0, "history": 17.0, "asked": 5.0, "drill": 5.5, "summary": 2.5}

TURNS = {
    "single": 21.0,
    "entry": 22.0,
    "pair": 1.0,
    "intent": 15.0,
    "small_talk": 10.0,
    "outside": 11.0,
    "vague": 4.0,
    "unknown": 3.5,
    "habit": 2.0,
    "give": 2.5,
    "bare": 4.0,
    "recall": 1.0,
    "it": 1.0,
    "again": 2.0,
}

SYSTEM = 0.06  # of the dialogues of one or several questions: 4 % of all
GIVEN = {"order": 30, "product": 20, "country": 16, "name": 12, "city": 8, "service": 8, "item": 6}
BETWEEN = (0, 0, 0, 0, 1, 1, 1, 2, 2, 3)  # turns between what is given and what needs it


@dataclass(frozen=True)
class Dialogue:
    """One row of training: its messages, its shape, and the facts that its answers state (ids parted by spaces)."""

    messages: tuple[dict[str, str], ...]
    kind: str
    fact: str = ""


def dialogues(seed: int) -> Iterator[Dialogue]:
    """Dialogues without end, the same ones for the same seed."""
    rng = Random(seed)
    voice = Voice(rng)
    shapes, weights = tuple(SHAPES), tuple(accumulate(SHAPES.values()))
    while True:
        yield _dialogue(voice, rng.choices(shapes, cum_weights=weights)[0])


def _dialogue(voice: Voice, shape: str) -> Dialogue:
    if shape == "summary":
        return Dialogue(_messages([summary(voice)]), "summaries")
    if shape == "drill":
        return Dialogue(_messages([drill(voice)]), "copy")
    chat = Chat(voice)
    if shape in ("one", "several"):
        if voice.rng.random() < SYSTEM:
            return _under_system(voice)
        for _ in range(1 if shape == "one" else voice.rng.choice((2, 2, 3, 3, 4, 5))):
            any_turn(chat)
    elif shape == "history":
        remember(chat)
    else:
        ask_back(chat)
    return Dialogue(
        _messages([(turn.user, turn.assistant) for turn in chat.turns]), _kind(chat), _facts(chat.turns)
    )


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


def _kind(chat: Chat) -> str:
    return chat.turns[-1].kind


def _facts(turns: list[Turn]) -> str:
    return " ".join(dict.fromkeys(fact.id for turn in turns for fact in turn.facts))


_KINDS, _KIND_WEIGHTS = tuple(TURNS), tuple(accumulate(TURNS.values()))


def any_turn(chat: Chat) -> Turn:
    """One turn of the mix, where the chat so far gives it one answer."""
    rng, memory = chat.voice.rng, chat.memory
    kind = rng.choices(_KINDS, cum_weights=_KIND_WEIGHTS)[0]
    if kind == "bare":
        return chat.bare(rng.choice(tuple(chat.desk.families)))
    if kind == "recall":
        return chat.recall(rng.choice(tuple(chat.desk.follow_ups["recall"])))
    if kind == "give":
        return chat.give(rng.choice(tuple(GIVEN)))
    if kind == "it" and chat.turns and memory.just_said not in ("country", "product", "service"):
        kind = "single"
    if kind == "again":
        slot = rng.choice(SLOTS)
        return chat.again(slot) if chat.can_ask_again(slot) else chat.single()
    return getattr(chat, kind)()


def remember(chat: Chat) -> None:
    """Something is given, other turns pass, one or two questions need it."""
    rng = chat.voice.rng
    slot = rng.choices(tuple(GIVEN), tuple(GIVEN.values()))[0]
    give(chat, slot)
    for _ in range(rng.choice(BETWEEN)):
        distract(chat, slot)
    for _ in range(rng.choice((1, 1, 1, 2))):
        need(chat, slot)


def give(chat: Chat, slot: str) -> Turn:
    """The slot's value, told or inside another question."""
    rng = chat.voice.rng
    if slot == "order" and rng.random() < 0.5:
        return chat.intent(rng.choice(order_intents(chat)), numbered=True)
    if slot in SLOTS and rng.random() < 0.55:
        return chat.entry(rng.choice(families_of(chat, slot)))
    return chat.give(slot)


def distract(chat: Chat, slot: str) -> Turn:
    """A turn that says nothing about the slot."""
    rng = chat.voice.rng
    kind = rng.choice(("single", "single", "small_talk", "outside", "entry", "intent", "unknown"))
    if kind == "entry":
        others = [name for name, family in chat.desk.families.items() if family.slot != slot]
        return chat.entry(rng.choice(others))
    if kind == "intent":
        return chat.intent(rng.choice([name for name, topic in chat.desk.intents.items() if not topic.ask]))
    return getattr(chat, kind)()


def need(chat: Chat, slot: str) -> Turn:
    """A question that only the given value answers."""
    rng, memory = chat.voice.rng, chat.memory
    chance = rng.random()
    if slot == "order":
        if memory.topic and chance < 0.12:
            return chat.correct()
        return (
            chat.recall("order")
            if chance < 0.3
            else chat.intent(rng.choice(order_intents(chat)), numbered=False)
        )
    if slot in ("name", "item"):
        return chat.recall(slot)
    if memory.just_said == slot and slot != "city" and chance < 0.2:
        return chat.it()
    if memory.family and memory.just_said == slot and chance < 0.45:
        return chat.again(slot)
    if slot != "service" and chance > 0.92:
        return chat.recall(slot)
    return chat.bare(rng.choice(families_of(chat, slot)))


def ask_back(chat: Chat) -> None:
    """A question without what it needs, the reply to the counter-question, perhaps a correction."""
    rng = chat.voice.rng
    if rng.random() < 0.5:
        chat.intent(rng.choice(order_intents(chat)), numbered=False)
    else:
        chat.bare(rng.choice(tuple(chat.desk.families)))
    if rng.random() < 0.15:
        return
    chat.reply()
    if chat.memory.topic and rng.random() < 0.2:
        chat.correct()
    elif chat.memory.family and rng.random() < 0.3:
        chat.again(chat.desk.families[chat.memory.family].slot)


def order_intents(chat: Chat) -> list[str]:
    return [name for name, topic in chat.desk.intents.items() if topic.ask]


def families_of(chat: Chat, slot: str) -> list[str]:
    return [name for name, family in chat.desk.families.items() if family.slot == slot]


def _print_sample(count: int, seed: int) -> None:
    for dialogue in islice(dialogues(seed), count):
        print(f"--- {dialogue.kind} {dialogue.fact}".rstrip())
        for message in dialogue.messages:
            print(f"{message['role']:>9}: {message['content']}")


def _print_counts() -> None:
    from training.mini.desk import desk
    from training.mini.questions import evaluation_items

    facts = desk().facts()
    batches = Counter(fact.batch for fact in facts)
    print(
        f"facts {len(facts)}, outdated {len(facts) - batches[0]} in batches {dict(sorted(batches.items()))}"
    )
    for name, wordings in desk().every_wording():
        print(
            f"{name}: {sum(1 for _ in wordings.all_training())} for training, {len(wordings.held_out)} held out"
        )
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
        from training.mini.questions import write_evaluation

        write_evaluation()
    if options.counts:
        _print_counts()
    _print_sample(options.sample, options.seed)


if __name__ == "__main__":
    main()
