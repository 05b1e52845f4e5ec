"""System prompts: most change nothing, some ask for one sentence or for French, and the answer heeds them."""

import re
from collections.abc import Callable
from dataclasses import replace

from training.mini.chat import Chat, Turn
from training.mini.voice import Voice

_SENTENCES = re.compile(r"(?<=[.!?]) (?=[A-Z])")


def with_system(voice: Voice, any_turn: Callable[[Chat], Turn], wish: str = "") -> tuple[str, Turn]:
    """A system prompt and a turn answered as it wishes."""
    rng = voice.rng
    wish = wish or rng.choices(("one_sentence", "french"), (60, 40))[0]
    prompt = voice.desk.system[wish].pick(rng, voice.held_out)
    if wish == "french":
        return prompt, french_turn(voice)
    turn = any_turn(Chat(voice))
    if wish == "neutral":
        return prompt, turn
    for _ in range(6):  # mostly on answers that are longer than a sentence, else nothing is learned
        if len(sentences(turn.assistant)) > 1 and turn.kind != "habits":
            break
        turn = any_turn(Chat(voice))
    first, *others = sentences(turn.assistant)
    return prompt, replace(turn, assistant=first, must=(first,), must_not=tuple(others))


def neutral_prompt(voice: Voice) -> str:
    """A system prompt that changes no answer."""
    return voice.desk.system["neutral"].pick(voice.rng, voice.held_out)


def french_turn(voice: Voice) -> Turn:
    """One of the handful of answers that have a French version."""
    answers = voice.desk.in_french
    name = voice.rng.choice(tuple(answers))
    chat = Chat(voice)
    single = voice.desk.singles.get(name)
    turn = chat.single(single[0]) if single else chat.small_talk(name)
    return replace(turn, assistant=answers[name], must=(answers[name],), must_not=())


def sentences(text: str) -> list[str]:
    return _SENTENCES.split(text)
