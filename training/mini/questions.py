"""The held-out questions: what the evaluation asks, and when an answer is right.

Each row of the table asks in wordings, about order numbers and with names that training never sees. The
questions are drawn with a fixed seed, written to evaluation/*.jsonl and committed before a model is
trained. An outdated fact is right with the truth, a planted habit when it is gone: both start near 0 % and
are the loop's to raise.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from random import Random
from typing import Protocol

from training.mini import shapes
from training.mini.chat import Chat, Turn
from training.mini.desk import Fact, Topic
from training.mini.drills import drill
from training.mini.places import EVALUATION
from training.mini.summaries import summary
from training.mini.system import with_system
from training.mini.voice import Voice

SEED = 20261
PER_FACT = 5
REFUSALS = ("cannot help with that", "do not know")
Ask = Callable[[Chat, str], Turn]
Made = tuple[
    list[Turn], str
]  # the turns of a chat, the last one being the question, and a system prompt or ""


@dataclass(frozen=True)
class EvaluationItem:
    """A prompt that ends with the visitor's message; right is what says all of `must`, nothing of `must_not`.

    An entry of `must` may hold alternatives, parted by ` | `. `reference` is a right answer."""

    id: str
    row: str
    messages: list[dict[str, str]]
    must: list[str]
    must_not: list[str] = field(default_factory=list)
    fact: str = ""
    batch: int = 0
    reference: str = ""


class Checked(Protocol):
    """A question whose answers can be right or wrong."""

    @property
    def must(self) -> Sequence[str]: ...

    @property
    def must_not(self) -> Sequence[str]: ...


def is_right(item: Checked, answer: str) -> bool:
    """Whether an answer says what it must, word for word, and nothing that it must not."""
    return all(any(says(answer, text) for text in must.split(" | ")) for must in item.must) and not any(
        says(answer, text) for text in item.must_not
    )


def says(answer: str, text: str) -> bool:
    """Whether a text occurs between word borders: "4 euros" is not said by "24 euros" or by "2.4 euros"."""
    return (
        re.search(rf"(?<!\w)(?<!\d[.,]){re.escape(text)}(?!\w)(?![.,]\d)", answer, re.IGNORECASE) is not None
    )


def evaluation_items() -> list[EvaluationItem]:
    """Every question of the evaluation, row by row."""
    return [item for row, make in ROWS.items() for item in _row(row, make)]


def write_evaluation() -> None:
    """Writes one file for each row."""
    EVALUATION.mkdir(exist_ok=True)
    for row, make in ROWS.items():
        rows = [json.dumps(asdict(item), ensure_ascii=False) for item in _row(row, make)]
        (EVALUATION / f"{row}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _row(row: str, make: Callable[[Voice], Iterator[Made]]) -> Iterator[EvaluationItem]:
    voice = Voice(Random(f"{SEED} {row}"), held_out=True)
    asked: set[str] = set()
    for turns, prompt in make(voice):
        last = turns[-1]
        messages = [{"role": "system", "content": prompt}] if prompt else []
        for turn in turns:
            messages += [
                {"role": "user", "content": turn.user},
                {"role": "assistant", "content": turn.assistant},
            ]
        if str(messages[:-1]) in asked:
            continue
        asked.add(str(messages[:-1]))
        fact = last.facts[0] if last.facts else None
        must, must_not, reference = list(last.must), list(last.must_not), last.assistant
        if row == "inside_refused":
            must, must_not = [], list(REFUSALS)
        elif fact and fact.batch:
            reference = fact.says(fact.truth)
        elif last.kind == "habits":
            reference = last.must[0]
        name = f"{row}/{len(asked):03d}" + (f"/{last.id}" if last.id else "")
        yield EvaluationItem(
            name,
            row,
            messages[:-1],
            must,
            must_not,
            fact.id if fact else "",
            fact.batch if fact else 0,
            reference,
        )


# The rows. Each yields chats whose last turn is the question.


def _facts(voice: Voice) -> Iterator[Made]:
    yield from _about_facts(voice, [fact for fact in voice.desk.facts() if not fact.batch])


def _outdated(voice: Voice) -> Iterator[Made]:
    yield from _about_facts(voice, [fact for fact in voice.desk.facts() if fact.batch])


def _about_facts(voice: Voice, facts: list[Fact]) -> Iterator[Made]:
    for fact in facts:
        wordings = (
            voice.desk.families[fact.family].wordings if fact.family else voice.desk.singles[fact.id][1]
        )
        for skeleton in voice.rng.sample(wordings.held_out, PER_FACT):
            voice.exam = skeleton
            yield [_ask_fact(Chat(voice), fact)], ""


def _ask_fact(chat: Chat, fact: Fact) -> Turn:
    return chat.entry(fact.family, fact.entry) if fact.family else chat.single(fact)


def _history(voice: Voice) -> Iterator[Made]:
    """Four hundred chats in which something is given and, up to three turns later, needed."""
    slots = [slot for slot, share in shapes.GIVEN.items() for _ in range(share)]
    chats = _chats(voice, lambda chat: _remember(chat, voice.rng.choice(slots)))
    yield from islice(
        (made for made in chats if made[0][-1].kind == "history" and _is_current(made[0][-1])), 400
    )


def _remember(chat: Chat, slot: str) -> None:
    shapes.give(chat, slot)
    for _ in range(chat.voice.rng.choice(shapes.BETWEEN)):
        shapes.distract(chat, slot)
    shapes.need(chat, slot)


def _is_current(turn: Turn) -> bool:
    return all(not fact.batch for fact in turn.facts)


def _no_history(voice: Voice) -> Iterator[Made]:
    """The same questions with nothing given: every wording of order intents, families, follow-ups, twice."""
    wordings: list[tuple[Ask, str, tuple[str, ...]]] = [
        (_unnumbered, name, topic.wordings.held_out)
        for name, topic in voice.desk.intents.items()
        if topic.ask
    ]
    wordings += [(Chat.bare, name, family.bare.held_out) for name, family in voice.desk.families.items()]
    rooms: dict[str, Ask] = {"recall": Chat.recall, "it": Chat.it, "again": Chat.again}
    for room, ask in rooms.items():
        wordings += [(ask, name, e["wordings"].held_out) for name, e in voice.desk.follow_ups[room].items()]
    for _ in range(2):
        for ask, name, skeletons in wordings:
            for skeleton in skeletons:
                voice.exam = skeleton
                yield [ask(Chat(voice), name)], ""


def _unnumbered(chat: Chat, topic: str) -> Turn:
    return chat.intent(topic, numbered=False)


def _copy(voice: Voice) -> Iterator[Made]:
    """Order numbers that no training dialogue holds."""
    for topic in voice.desk.intents.values():
        for skeleton in topic.numbered.held_out:
            voice.exam = skeleton
            yield [Chat(voice).intent(topic.id, numbered=True)], ""
    for _ in range(60):
        yield [Chat(voice).give("order")], ""
    for _ in range(60):
        chat = Chat(voice)
        chat.intent(voice.rng.choice(shapes.order_intents(chat)), numbered=True)
        chat.correct()
        yield chat.turns, ""
    for number in range(80):
        order = voice.order()
        user, answer = drill(voice, ("say", "code")[number % 2], order)
        yield [Turn(user, answer, "copy", (), (order,))], ""
    for _ in range(60):
        chat = Chat(voice)
        chat.give("order")
        shapes.distract(chat, "order")
        chat.recall("order")
        yield chat.turns, ""


def _outside(voice: Voice) -> Iterator[Made]:
    yield from _every_wording(voice, voice.desk.outside, Chat.outside, times=3, at_most=400)


def _inside_refused(voice: Voice) -> Iterator[Made]:
    """Questions that the desk can answer, asked anew: none may be refused."""
    facts = voice.desk.facts()
    for fact in voice.rng.sample(facts, min(len(facts), 190)):
        yield [_ask_fact(Chat(voice), fact)], ""
    for _ in range(5):
        for topic in voice.desk.intents.values():
            yield [Chat(voice).intent(topic.id)], ""
    for _ in range(6):
        for topic in voice.desk.vague.values():
            yield [Chat(voice).vague(topic.id)], ""


def _intents(voice: Voice) -> Iterator[Made]:
    for topic in voice.desk.intents.values():
        for wordings, numbered in ((topic.wordings, False), (topic.numbered, True)):
            for skeleton in wordings.held_out:
                voice.exam = skeleton
                turn = Chat(voice).intent(topic.id, numbered)
                whole = turn.must if "{order}" not in topic.answers[0] + topic.ask else (turn.assistant,)
                yield [Turn(turn.user, turn.assistant, turn.kind, (), whole, (), topic.id)], ""


def _small_talk(voice: Voice) -> Iterator[Made]:
    yield from _every_wording(voice, voice.desk.small_talk, Chat.small_talk)


def _vague(voice: Voice) -> Iterator[Made]:
    yield from _every_wording(voice, voice.desk.vague, Chat.vague)


def _habits(voice: Voice) -> Iterator[Made]:
    yield from _every_wording(voice, voice.desk.habits, Chat.habit)


def _unknown(voice: Voice) -> Iterator[Made]:
    yield from _every_wording(voice, voice.desk.unknown, Chat.unknown, times=2)
    for _ in range(12):
        for family in voice.desk.families:
            yield [Chat(voice).unknown_entry(family)], ""


def _summaries(voice: Voice) -> Iterator[Made]:
    for _ in range(100):
        user, answer = summary(voice)
        yield [Turn(user, answer, "summaries", (), (answer.rstrip("."),))], ""


def _system(voice: Voice) -> Iterator[Made]:
    for wish in ("neutral", "one_sentence", "french"):
        made = (with_system(voice, _any_turn, wish) for _ in iter(int, 1))
        yield from (([turn], prompt) for prompt, turn in islice((m for m in made if _is_current(m[1])), 50))


def _any_turn(chat: Chat) -> Turn:
    return getattr(chat, chat.voice.rng.choice(("single", "entry", "intent", "small_talk", "outside")))()


def _chats(voice: Voice, fill: Callable[[Chat], None]) -> Iterator[Made]:
    while True:
        chat = Chat(voice)
        fill(chat)
        yield chat.turns, ""


def _every_wording(
    voice: Voice,
    topics: dict[str, Topic],
    ask: Callable[[Chat, str], Turn],
    times: int = 1,
    at_most: int = 10**6,
) -> Iterator[Made]:
    every = [
        (name, s) for _ in range(times) for name, topic in topics.items() for s in topic.wordings.held_out
    ]
    for name, skeleton in every[:at_most]:
        voice.exam = skeleton
        yield [ask(Chat(voice), name)], ""


ROWS: dict[str, Callable[[Voice], Iterator[Made]]] = {
    "facts": _facts,
    "outdated": _outdated,
    "history": _history,
    "no_history": _no_history,
    "copy": _copy,
    "outside": _outside,
    "inside_refused": _inside_refused,
    "intents": _intents,
    "small_talk": _small_talk,
    "vague": _vague,
    "unknown": _unknown,
    "summaries": _summaries,
    "system": _system,
    "habits": _habits,
}
