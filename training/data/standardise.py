"""Rows of any columns -> Examples: ShareGPT, messages, instruction and response, pairs, labelled answers.

reader = Standard(label, columns, form="sft", variant=None)
reader.example(row)                        Example | Fault
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backtalk.errors import BacktalkError, nearest
from training.data.example import Example, Fault, Message, Messages, Row
from training.data.recipe import Form
from training.data.variant import Variant

SPEAKERS = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
    "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
}  # fmt: skip
USUAL = {"conversations": "messages"} | {
    name: name for name in ("messages", "system", "prompt", "completion", "label", "chosen", "rejected")
}
WANTED: Mapping[Form, str] = {
    "sft": "messages, or prompt and completion",
    "kto": "label, with messages or with prompt and completion",
    "dpo": "chosen and rejected",
}


class Unusable(Exception):
    """Why a row cannot be used."""


@dataclass(frozen=True)
class Standard:
    """How the rows of one source are read; `columns` gives each part the name of its column."""

    label: str
    columns: Mapping[str, str]
    form: Form
    variant: Variant | None = None
    group: str = ""
    stratify: str = ""
    curated: bool = False

    def example(self, row: Row) -> Example | Fault:
        """The row as an Example."""
        try:
            return self._read(row)
        except Unusable as why:
            return Fault(row.number, str(why))

    def _read(self, row: Row) -> Example:
        values = row.values
        rejected: Messages = ()
        if self.form == "dpo":
            prompt, completion, rejected = self._pair(values)
        else:
            prompt, completion = self._conversation(values)
        answered = max((n for n, one in enumerate(completion) if one["role"] == "assistant"), default=-1)
        if answered < 0:
            raise Unusable("no assistant turn")
        if not any(message["role"] == "user" for message in prompt):
            raise Unusable("no user turn before the answer")
        return Example(
            source=self.label,
            number=row.number,
            prompt=prompt,
            completion=completion[: answered + 1],
            rejected=rejected,
            label=_label(values, self.columns["label"]) if "label" in self.columns else None,
            weight=float(values.get("weight", 1.0)) if self.curated else 1.0,
            question=self.variant.question(values) if self.variant else "",
            group=str(values.get(self.group, "")) if self.group else "",
            stratum=str(values.get(self.stratify, "")) if self.stratify else "",
            given_id=str(values.get("id", "")) if self.curated else "",
            trimmed=answered + 1 < len(completion),
        )

    def _conversation(self, values: Mapping[str, Any]) -> tuple[Messages, Messages]:
        """Prompt and completion; of a list of messages, everything from the first answer on is completion."""
        if "messages" in self.columns:
            messages = self._system(values, _messages(self._value(values, "messages")))
            first = next((n for n, one in enumerate(messages) if one["role"] == "assistant"), len(messages))
            return messages[:first], messages[first:]
        completion = _said(self._value(values, "completion"), "assistant", self.columns["completion"])
        return self._asked(values), completion

    def _pair(self, values: Mapping[str, Any]) -> tuple[Messages, Messages, Messages]:
        chosen = _said(self._value(values, "chosen"), "assistant", self.columns["chosen"])
        rejected = _said(self._value(values, "rejected"), "assistant", self.columns["rejected"])
        if "prompt" in self.columns or self.variant:
            prompt = self._asked(values)
        else:  # two whole conversations that begin alike
            same = sum(1 for _ in _alike(chosen, rejected))
            prompt, chosen, rejected = self._system(values, chosen[:same]), chosen[same:], rejected[same:]
        if not any(message["role"] == "assistant" for message in rejected):
            raise Unusable("no assistant turn in the rejected answer, or the same as in the chosen one")
        if chosen == rejected:
            raise Unusable("the same answer chosen and rejected")
        return prompt, chosen, rejected

    def _asked(self, values: Mapping[str, Any]) -> Messages:
        if self.variant:
            lacking = [name for name in self.variant.columns if values.get(name) in (None, "")]
            if lacking:
                raise Unusable(f"nothing in the column '{lacking[0]}'")
            return self._system(values, ({"role": "user", "content": _whole(self.variant.message(values))},))
        asked = _said(self._value(values, "prompt"), "user", self.columns["prompt"])
        return self._system(values, asked)

    def _system(self, values: Mapping[str, Any], messages: Messages) -> Messages:
        text = values.get(self.columns.get("system", ""), "")
        if text and isinstance(text, str) and not (messages and messages[0]["role"] == "system"):
            return ({"role": "system", "content": _whole(text)}, *messages)
        return messages

    def _value(self, values: Mapping[str, Any], part: str) -> Any:
        name = self.columns[part]
        if values.get(name) is None:
            raise Unusable(f"nothing in the column '{name}'")
        return values[name]


def parts(
    given: Mapping[str, str], columns: Sequence[str], form: Form, label: str, variant: bool
) -> dict[str, str]:
    """Which column is which part: as the recipe says, else by the usual names.

    Raises BacktalkError where a column is missing; empty where the source has nothing for this form.
    """
    for part, name in given.items():
        if name not in columns:
            raise BacktalkError(
                f"{label} has no column '{name}', which the recipe takes for the {part}; it has "
                f"{', '.join(columns)}.{nearest(name, columns)}"
            )
    found = dict(given) or {USUAL[name]: name for name in columns if name in USUAL}
    if _enough(found, form, variant):
        return found
    if any(_enough(found, other, variant) for other in WANTED):
        return {}
    raise BacktalkError(
        f"{label} has the columns {', '.join(columns)}; for {form.upper()} {WANTED[form]} were wanted. Name "
        "them in the recipe, as in columns: {prompt: question, completion: answer}"
    )


def _enough(found: Mapping[str, str], form: Form, variant: bool) -> bool:
    conversation = "messages" in found or ("completion" in found and ("prompt" in found or variant))
    if form == "dpo":
        return "chosen" in found and "rejected" in found
    return conversation and (form == "sft" or "label" in found)


def _said(given: Any, role: str, column: str) -> Messages:
    """A part as messages: a text is one message of that role."""
    if isinstance(given, str) and not given.strip():
        raise Unusable(f"nothing in the column '{column}'")
    listed = _listed(given)
    if isinstance(listed, str):
        return ({"role": role, "content": _whole(listed)},)
    if not isinstance(listed, list | tuple):
        raise Unusable(f"no text in the column '{column}'")
    return _messages(listed)


def _messages(given: Any) -> Messages:
    """Messages in the house's words, from `role` and `content` or from ShareGPT's `from` and `value`."""
    given = _listed(given)
    if not isinstance(given, list | tuple) or not given:
        raise Unusable("no messages")
    messages = [_message(one) for one in given]
    if messages[0]["role"] == "system" and not messages[0]["content"].strip():
        messages = messages[1:]
    for place, message in enumerate(messages):
        if message["role"] == "system" and place:
            raise Unusable("a system message that is not the first")
        if not message["content"].strip():
            raise Unusable("an empty turn")
    return tuple(messages)


def _message(given: Any) -> Message:
    if not isinstance(given, Mapping):
        raise Unusable("a turn that is not a message")
    role, content = given.get("role", given.get("from")), given.get("content", given.get("value"))
    if str(role).lower() not in SPEAKERS:
        raise Unusable(f"a turn of {role!r}" if role else "a turn that nobody says")
    if not isinstance(content, str):
        raise Unusable("a turn without text")
    return {"role": SPEAKERS[str(role).lower()], "content": _whole(content)}


def _whole(text: str) -> str:
    """The text, if it is one: JSON may hold half of a character, which no tokenizer and no file can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unusable("half of a character (a lone surrogate)") from None
    return text


def _label(values: Mapping[str, Any], column: str) -> bool:
    given = values.get(column)
    known = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(given, bool | int | str) and str(given).lower() in known:
        return known[str(given).lower()]
    raise Unusable(f"a label that is neither true nor false ({given!r})")


def _listed(given: Any) -> Any:
    """The list of messages that a CSV cell holds as JSON; anything else as it is."""
    if isinstance(given, str) and given.lstrip().startswith("[{"):
        try:
            return json.loads(given)
        except json.JSONDecodeError:
            return given
    return given


def _alike(one: Messages, other: Messages) -> Iterable[Message]:
    for mine, others in zip(one, other, strict=False):
        if mine != others:
            return
        yield mine
