"""One row as every later step sees it, whatever it was read from; and a row that cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from backtalk.files import canonical_json

Message = Mapping[str, str]
"""`{"role": "system" | "user" | "assistant", "content": text}`"""

Messages = tuple[Message, ...]


@dataclass(frozen=True)
class Row:
    """A row as it was read; `number` counts from 1, in a file of lines it is the line."""

    number: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """A row that cannot be used, and why: words that fit behind "row 3: "."""

    number: int
    why: str


@dataclass(frozen=True)
class Example:
    """What a model is asked and what it should say: every assistant message of `completion` is learned.

    `prompt` holds system prompt and turns up to the first answer that is learned. `rejected` is for DPO,
    `label` for KTO. `question` is what the row asks in its own words: the first line of what is compared.
    """

    source: str
    number: int
    prompt: Messages
    completion: Messages
    rejected: Messages = ()
    label: bool | None = None
    weight: float = 1.0
    question: str = ""
    group: str = ""
    stratum: str = ""
    given_id: str = ""
    trimmed: bool = False

    @property
    def messages(self) -> list[Message]:
        """The whole conversation."""
        return [*self.prompt, *self.completion]

    @cached_property
    def id(self) -> str:
        """The row's own id where it has one, else a hash of its content.

        A prompt variant's words are no part of it: so rows are drawn alike whichever variant shows them.
        """
        content = [self.question or self.prompt, self.completion, self.rejected, self.label]
        return self.given_id or sha256(canonical_json(content)).hexdigest()[:16]

    @property
    def place(self) -> str:
        """Where a reader finds it."""
        return f"{self.source}, row {self.number}"

    @property
    def texts(self) -> list[str]:
        """Everything that somebody says in it."""
        return [message["content"] for message in (*self.messages, *self.rejected)]

    @cached_property
    def asked(self) -> list[str]:
        """The prompt of each answer that is learned, as turns in one text, system prompts left out."""
        turns = [f"{one['role']}: {one['content']}" for one in self.prompt if one["role"] != "system"]
        if self.question:
            turns = [f"user: {self.question}"]
        found = []
        for message in self.completion:
            if message["role"] == "assistant":
                found.append("\n".join(turns))
            turns.append(f"{message['role']}: {message['content']}")
        return found
