"""Messages -> tokens, by the model's own chat template; control tokens come from the template alone.

What a visitor, a system prompt or an earlier answer says is tokenized as plain text: a typed `<|eot_id|>`
reaches the model as eight characters. To be sure of it, the first character of every control token is
swapped, inside contents, for a private-use character before the template runs, and swapped back in the
pieces between the control tokens that the template wrote. Text around a content is tokenized together with
it, as in training.

The template runs in Jinja's immutable sandbox: a model file is data from somewhere else.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backtalk.errors import ContextError, ModelError

Message = Mapping[str, str]
"""`{"role": "system" | "user" | "assistant", "content": text}`"""

PRIVATE_USE = range(
    0xF0000, 0xFFFFE
)  # Unicode plane 15: no meaning of its own, so any unused one can stand in

ANSWER_SHARE = 4  # an answer may reserve at most 1/4 of the context, so that a question always has room


@dataclass(frozen=True)
class Prompt:
    """What is sent: the tokens, the messages behind them, how many earlier turns had to be left out."""

    tokens: list[int]
    messages: list[Message]
    dropped_turns: int = 0


class Template:
    """A chat template and the control tokens that it may write.

    `controls` maps the text of each control token to its id; `tokenize` turns plain text into ids and never
    yields a control token. `known` may tell the ids of a text that stands after others, where they are other
    ones than `tokenize` makes of it; else it tells none.
    """

    def __init__(
        self,
        source: str,
        controls: Mapping[str, int],
        tokenize: Callable[[str], list[int]],
        bos_token: str = "",
        eos_token: str = "",
        known: Callable[[Sequence[int], str], Sequence[int]] = lambda before, text: (),
    ):
        from jinja2 import TemplateError

        self._controls = controls
        self._tokenize, self._known = tokenize, known
        self._names = {"bos_token": bos_token, "eos_token": eos_token}  # what templates call them
        longest_first = sorted((name for name in controls if name), key=len, reverse=True)
        self._border = (
            re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if longest_first else None
        )
        self._first_characters = {name[0] for name in longest_first}
        try:
            self._template = _sandbox().from_string(source)
        except TemplateError as fault:
            raise ModelError(
                f"The model's chat template cannot be read ({fault}). Use another model file."
            ) from fault

    def render(self, messages: Sequence[Message], generate: bool = True) -> str:
        """The text of a conversation; with `generate` it ends where the assistant begins to speak."""
        from jinja2 import TemplateError

        try:
            return self._template.render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=generate,
                **self._names,
            )
        except TemplateError as fault:
            raise ModelError(f"The model's chat template refused this conversation: {fault}.").called(
                "refused_by_template"
            ) from fault

    def tokens(self, messages: Sequence[Message], generate: bool = True) -> list[int]:
        """The ids of a conversation, control tokens only where the template wrote them."""
        guards = self._guards(message["content"] for message in messages)
        hide = str.maketrans(guards)
        show = str.maketrans({guard: character for character, guard in guards.items()})
        hidden = [{**message, "content": message["content"].translate(hide)} for message in messages]
        text = self.render(hidden, generate)
        ids: list[int] = []
        for piece in self._border.split(text) if self._border else [text]:
            control = self._controls.get(piece)
            if control is not None:
                ids.append(control)
            elif piece:
                shown = piece.translate(show)
                ids.extend(self._known(ids, shown) or self._tokenize(shown))
        return ids

    def _guards(self, contents: Iterable[str]) -> dict[str, str]:
        """A stand-in for each first character of a control token, none of which occurs in `contents`."""
        taken = set().union(*map(set, contents))
        free = (chr(point) for point in PRIVATE_USE if chr(point) not in taken)
        return dict(zip(sorted(self._first_characters), free, strict=False))


def room_for(max_tokens: int, context: int) -> int:
    """Tokens of a context that are left to a prompt whose answer may take `max_tokens`."""
    return context - min(max_tokens, context // ANSWER_SHARE)


def fit(template: Template, messages: Sequence[Message], room: int) -> Prompt:
    """The newest turns of `messages` that take at most `room` tokens; the oldest go first, by whole turns.

    `messages` is an optional system message, earlier turns, and the question, which always stays.
    Raises ContextError when the question alone is too long.
    """
    system, turns = by_turns(messages)
    kept = _likely(template, system, turns, room)
    while True:
        chosen = [*system, *(message for turn in turns[len(turns) - kept :] for message in turn)]
        tokens = template.tokens(chosen)
        if len(tokens) <= room:
            return Prompt(tokens, chosen, dropped_turns=len(turns) - kept)
        if kept == 1:
            raise ContextError(
                f"This message takes {len(tokens):,} tokens and the model has room for {room:,}. "
                "Please shorten it or send it in parts."
            ).called("no_room", tokens=len(tokens), room=room)
        kept -= 1


def _likely(template: Template, system: list[Message], turns: list[list[Message]], room: int) -> int:
    """How many of the newest turns could fit, counted turn by turn so that 10,000 turns cost no more than
    100.
    """
    used = len(template.tokens(system, generate=False)) if system else 0
    for kept, turn in enumerate(reversed(turns), start=1):
        used += len(template.tokens(turn, generate=False)) - 1  # a template may write its opening once
        if used > room:
            return max(kept - 1, 1)
    return max(len(turns), 1)


def by_turns(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """The system message and the turns; a turn begins with what the user says."""
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns: list[list[Message]] = []
    for message in messages[len(system) :]:
        if message["role"] == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return system, turns


def _sandbox() -> Any:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
    return environment


def _refuse(reason: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(reason)
