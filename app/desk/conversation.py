"""A conversation as pure functions: what is sent of it, what the quiet line tells, what it is called."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.desk.text import clean
from app.desk.transcript import Message
from backtalk.engine import Sampling
from backtalk.errors import WordsError

FULL_HISTORY, LAST_TURNS, NO_HISTORY = "full", "last_n", "off"
HISTORIES = (FULL_HISTORY, LAST_TURNS, NO_HISTORY)
LONGEST_MESSAGE = 32_000  # characters: some 8,000 tokens, more than any model here reads at once
LONGEST_SYSTEM_PROMPT = 4_000
LONGEST_TITLE = 48
FRESH_SEED = -1

BOUNDS: dict[str, tuple[float, float]] = {
    "last_n": (1, 20),
    "temperature": (0, 2),
    "top_p": (0.05, 1),
    "max_tokens": (16, 1024),
    "seed": (FRESH_SEED, 2**31 - 1),
}


@dataclass(frozen=True)
class Controls:
    """What the visitor set beside the conversation."""

    history: str = FULL_HISTORY
    last_n: int = 3
    system_prompt: str = ""
    temperature: float = 0.3
    top_p: float = 0.9
    max_tokens: int = 256
    seed: int = FRESH_SEED

    @staticmethod
    def from_form(**values: Any) -> "Controls":
        """Checks what a form or a program sent. Raises WordsError in one sentence."""
        unknown = set(values) - set(Controls.__dataclass_fields__)
        if unknown:
            known = ", ".join(Controls.__dataclass_fields__)
            raise WordsError(f"'{sorted(unknown)[0]}' is not a setting. Known are {known}.").called("setting")
        history = values.get("history", FULL_HISTORY)
        if history not in HISTORIES:
            raise WordsError(f"History is {history!r:.40}; wanted is one of {', '.join(HISTORIES)}.").called(
                "setting"
            )
        numbers = {name: _number(name, values[name]) for name in BOUNDS if name in values}
        whole = {name: int(value) for name, value in numbers.items() if name not in ("temperature", "top_p")}
        system_prompt = checked_text(values.get("system_prompt", ""), "system prompt", LONGEST_SYSTEM_PROMPT)
        return Controls(**{**numbers, **whole, "history": history, "system_prompt": system_prompt})

    def sampling(self, seed: int) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens, seed=seed)


def checked_text(value: Any, what: str, longest: int) -> str:
    """Text that a visitor typed, cleaned. Raises WordsError when it is not text or too long."""
    if not isinstance(value, str):
        raise WordsError(f"The {what} came as a {type(value).__name__}; text was wanted.").called(
            "out_of_step"
        )
    if len(value) > longest:
        raise WordsError(
            f"The {what} has {len(value):,} characters and {longest:,} fit. "
            "Please shorten it or send it in parts."
        ).called("too_long", length=len(value), longest=longest)
    return clean(value).strip()


def to_send(messages: Sequence[Message], controls: Controls) -> list[Message]:
    """The messages that go to the model: the question, which is last, and what the history switch lets
    through.
    """
    earlier, question = messages[:-1], messages[-1]
    if controls.history == NO_HISTORY:
        return [question]
    if controls.history == LAST_TURNS:
        asked = [place for place, message in enumerate(earlier) if message.role == "user"]
        first = asked[-controls.last_n] if len(asked) >= controls.last_n else 0
        return [*earlier[first:], question]
    return [*earlier, question]


def sent_facts(answer: Message) -> dict[str, Any]:
    """The quiet line under an answer: what was sent, who answered, how fast, how it ended. The page has the
    words; `round` is None for an endpoint's model, of which nobody here knows what it was taught.
    """
    sent, model, ending = answer.sent, answer.model, answer.ending
    return {
        "turns": sent["earlier_turns"],
        "tokens": sent["prompt_tokens"],
        "left_out": sent["truncated_turns"],
        "model": model["name"],
        "round": model["round"] if model["gguf_sha256"] else None,
        "sha": model["gguf_sha256"][:8],
        "speed": round(ending["tokens_per_second"]),
        "end": ending["finish_reason"],
    }


def title(messages: Sequence[Message]) -> str:
    """A name for the sidebar: the first question, shortened at a word."""
    words = messages[0].text.split() if messages else []
    name = ""
    for word in words:
        if len(name) + len(word) >= LONGEST_TITLE:
            return (name or word[:LONGEST_TITLE]) + "…"
        name = f"{name} {word}".strip()
    return name or "New conversation"


def _number(name: str, value: Any) -> float:
    lowest, highest = BOUNDS[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        what = name.replace("_", " ").capitalize()
        raise WordsError(
            f"{what} is {value!r:.40}; wanted is a number from {lowest:g} to {highest:g}."
        ).called("setting")
    return value
