"""Copy drills: numbers, names, codes and things said back at once: copying, learned apart from any answer."""

from training.mini.voice import Voice


def drill(voice: Voice, kind: str = "", word: str = "") -> tuple[str, str]:
    """A request and the words said back."""
    drills = voice.desk.drills
    topic = drills[kind or voice.rng.choice(("say", "say", "code", "code", "hello", "first", "last"))]
    values = {"x": word or voice.word(), "y": voice.word(), "name": voice.name()}
    if topic.id in ("first", "last"):  # two of a kind
        values |= {"x": voice.order(), "y": voice.order()} if voice.rng.random() < 0.5 else {}
    while values["y"] == values["x"]:
        values["y"] = voice.word()
    return voice.say(topic.wordings, **values), topic.answers[0].format_map(values)
