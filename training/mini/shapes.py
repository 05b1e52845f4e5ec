"""How turns become a chat: any turn of the mix, something given and later needed, something asked back.

Promise: each answer follows from the chat before it; a turn that would have two answers there is not said.
"""

from collections.abc import Mapping

from training.mini.chat import SLOTS, Chat, Turn

TURNS = {
    "single": 17.0,
    "entry": 17.0,
    "pair": 1.0,
    "intent": 15.0,
    "small_talk": 12.0,
    "outside": 16.0,
    "vague": 4.0,
    "unknown": 4.5,
    "habit": 2.0,
    "give": 3.0,
    "bare": 4.0,
    "recall": 1.5,
    "it": 1.0,
    "again": 1.5,
}

GIVEN = {"order": 30, "product": 18, "country": 16, "name": 14, "city": 8, "service": 7, "item": 7}
BETWEEN = (0, 0, 0, 0, 1, 1, 1, 2, 2, 3)  # turns between what is given and what needs it


def any_turn(chat: Chat, shares: Mapping[str, float] = TURNS) -> Turn:
    """One turn of the mix, where the chat so far gives it one answer."""
    rng, memory = chat.voice.rng, chat.memory
    kind = rng.choices(tuple(shares), tuple(shares.values()))[0]
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
        if memory.topic and chance < 0.2:
            return chat.correct()
        if chance < 0.35:
            return chat.recall("order")
        return chat.intent(rng.choice(order_intents(chat)), numbered=False)
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
    if chat.memory.topic and rng.random() < 0.35:
        chat.correct()
    elif chat.memory.family and rng.random() < 0.3:
        chat.again(chat.desk.families[chat.memory.family].slot)


def order_intents(chat: Chat) -> list[str]:
    return [name for name, topic in chat.desk.intents.items() if topic.ask]


def families_of(chat: Chat, slot: str) -> list[str]:
    return [name for name, family in chat.desk.families.items() if family.slot == slot]
