"""Everything that can go wrong and is said calmly: one tree, one sentence each.

    BacktalkError            the work failed                              exit code 1
    ├── WordsError           a flag, a key or a value was off             exit code 2
    ├── GateError            the gate said no: HOLD or REJECT             exit code 3
    ├── ModelError           a model cannot be found, read or run
    │   └── ContextError     a message does not fit what the model reads at once
    ├── BusyError            more people ask than can be answered
    ├── NetworkError         the Hub was not reached, or said no
    ├── TranscriptError      a message is unsigned, altered or another visitor's
    ├── FlagError            a flag event breaks its schema
    └── OutboxError          a flag could not be written to disk

A message has three parts: what was found, what was wanted, what to do. The command line prints it
without a traceback. Anything outside this tree is a defect of ours.

    raise BusyError("64 questions are waiting already.").called("busy", most=64, seconds=20)

What a visitor may meet has a name, too, and says what stands in its gaps: the page has words for it in every
language, and shows the sentence itself where it has none. What has no name is for whoever runs Backtalk.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Self


class BacktalkError(Exception):
    """The work failed for a reason that the reader can act on."""

    exit_code = 1
    name = ""
    gaps: Mapping[str, Any] = {}

    def called(self, name: str, **gaps: Any) -> Self:
        """The same error with the name under which the page has words for it; `gaps`: texts and numbers."""
        self.name, self.gaps = name, gaps
        return self

    @property
    def words(self) -> dict[str, Any]:
        """What the page finds its words by, beside the sentence; nothing where the error has no name."""
        return {"name": self.name, "gaps": dict(self.gaps)} if self.name else {}


class WordsError(BacktalkError):
    """The words were off: an unknown flag, key or value."""

    exit_code = 2


class GateError(BacktalkError):
    """The gate said HOLD or REJECT; nothing was promoted."""

    exit_code = 3


class ModelError(BacktalkError):
    """A model cannot be found, read or run."""


class ContextError(ModelError):
    """A message is longer than what the model reads at once."""


class BusyError(BacktalkError):
    """More people ask than can be answered; this one may ask again."""


class NetworkError(BacktalkError):
    """The Hub was not reached, or answered no."""


class TranscriptError(BacktalkError):
    """A message of the transcript is unsigned, altered or another visitor's."""


class FlagError(BacktalkError):
    """A flag event breaks its schema; nothing of it was stored."""


class OutboxError(BacktalkError):
    """A flag could not be written to disk; nothing was acknowledged."""


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the known name that is nearest to `name`, else an empty string."""
    matches = get_close_matches(name, list(known), n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""
