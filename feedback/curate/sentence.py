"""A correction as a sentence with its values left blank: other values in it contradict each other.

    sentence("You can return items within 60 days.", answer, question)     "you can return items within _"

A value is a word with a digit, the word behind it (its unit), and any word that neither the flagged answer
nor its question has: numbers, dates, prices, and names too, in any language. Two corrections of one answer
that are the same sentence put something else in the same place, however differently they were asked for.
"""

import re

from feedback.curate.similar import WORD, normalised

BLANK = "_"
_DIGIT = re.compile(r"\d")


def sentence(correction: str, answer: str, question: str) -> str:
    """The words of the correction that are no values; empty where they are fewer than half.

    What is written anew from top to bottom is no other value of the same sentence.
    """
    words, known = _words(correction), {*_words(answer), *_words(question)}
    number = [bool(_DIGIT.search(word)) for word in words]
    behind = [False, *number]
    kept = [
        word if word in known and not (is_number or is_unit) else BLANK
        for word, is_number, is_unit in zip(words, number, behind, strict=False)
    ]
    if 2 * kept.count(BLANK) > len(kept):
        return ""
    return " ".join(
        word for word, last in zip(kept, ["", *kept], strict=False) if (word, last) != (BLANK, BLANK)
    )


def _words(text: str) -> list[str]:
    return WORD.findall(normalised(text))
