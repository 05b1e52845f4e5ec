"""Copy drills: numbers, names, codes and things said back at once: copying, learned apart from any answer.

Most are a single word, as a visitor would ask. The others are lists of a dozen: a number of six digits is two
tokens and an invented name four, and each token of a list is one more case of "what came after it the last
time", which is what an answer about an order does many turns later.
"""

from training.mini.voice import Voice

KINDS = ("say", "say", "code", "code", "hello", "first", "last", *("list",) * 5)
FEWEST, MOST = 4, 14  # words of a list


def drill(voice: Voice, kind: str = "", word: str = "") -> tuple[str, str]:
    """A request and the words said back."""
    kind = kind or voice.rng.choice(KINDS)
    topic = voice.desk.drills["say" if kind == "list" else kind]
    values = {"x": word or voice.word(), "y": voice.word(), "name": voice.name()}
    if kind == "list":
        values["x"] = ", ".join(voice.word() for _ in range(voice.rng.randint(FEWEST, MOST)))
    if kind in ("first", "last"):  # two of a kind
        values |= {"x": voice.order(), "y": voice.order()} if voice.rng.random() < 0.5 else {}
    while values["y"] == values["x"]:
        values["y"] = voice.word()
    return voice.say(topic.wordings, **values), topic.answers[0].format_map(values)
