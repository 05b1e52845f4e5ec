"""A question as somebody else would type it: the words stay, case and marks go, a finger slips.

    retyped(example, Random("1|row 7"))        the same example, its last question typed anew

People type capitals, no question mark, a letter twice. A model that learned a correction from one way of
typing answers the others as before: to its tokenizer "RETURN WINDOW" and "return window" share nothing.
Noise in training is after Belinkov and Bisk, "Synthetic and Natural Noise Both Break Neural Machine
Translation" (ICLR 2018), arXiv 1711.02173, section 6.2.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from random import Random

from training.data.example import Example, Messages

MARKS = ("", "", "?", "!", ".", "??", " ?")
END = re.compile(r"[\s?!.]+$")
LONG_WORD = re.compile(r"[^\W\d_]{4,}")


def retyped(example: Example, chance: Random) -> Example:
    """The example with its last question typed in one of four other ways; what is answered stays."""
    way = chance.choice(WAYS)
    return replace(example, prompt=_last_question(example.prompt, lambda text: way(text, chance)))


def _last_question(prompt: Messages, change: Callable[[str], str]) -> Messages:
    place = max((place for place, one in enumerate(prompt) if one["role"] == "user"), default=None)
    if place is None:
        return prompt
    asked = {**prompt[place], "content": change(prompt[place]["content"])}
    return (*prompt[:place], asked, *prompt[place + 1 :])


def _capitals(text: str, chance: Random) -> str:
    return _other_mark(text, chance).upper()


def _small_letters(text: str, chance: Random) -> str:
    return _other_mark(text, chance).lower()


def _other_mark(text: str, chance: Random) -> str:
    return END.sub("", text) + chance.choice(MARKS)


def _slip(text: str, chance: Random) -> str:
    """Two letters swapped, one left out or one twice, in a word; numbers stay, since answers hang on them."""
    words = list(LONG_WORD.finditer(text))
    if not words:
        return text
    word = chance.choice(words)
    place = chance.randrange(word.start() + 1, word.end() - 1)
    here, after = text[place], text[place + 1]
    return text[:place] + chance.choice((after + here, after, here + here + after)) + text[place + 2 :]


WAYS = (_capitals, _small_letters, _other_mark, _slip)
