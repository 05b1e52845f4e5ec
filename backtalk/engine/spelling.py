"""The text of an answer as its tokens arrive: whole characters, and nothing of a stop string.

spelling = Spelling(stop=("\\nUser:",))
spelling.add(b"caf\\xc3")   -> "caf"      half a character waits for its other half
spelling.add(b"\\xa9\\nUs") -> "é"        what may become a stop string waits too
spelling.rest()             -> "\\nUs"    at the end, what was held back after all
"""

import codecs
from collections.abc import Sequence


class Spelling:
    """Takes the bytes of tokens, gives text that may be shown. `stopped` once a stop string was written."""

    def __init__(self, stop: Sequence[str] = ()):
        self._stop = tuple(word for word in stop if word)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def add(self, spelled: bytes) -> str:
        text = self._decoder.decode(spelled)
        return self._shown(text) if self._stop else text

    def rest(self) -> str:
        """What was held back, at the end of an answer; nothing after a stop string."""
        text = self._decoder.decode(b"", final=True)
        if not self._stop:
            return text
        shown = self._shown(text)
        held, self._held = self._held, ""
        return shown if self.stopped else shown + held

    def _shown(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        ends = [place for place in map(text.find, self._stop) if place >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)]
        keep = max(_begun(text, word) for word in self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _begun(text: str, word: str) -> int:
    """How many characters at the end of `text` are the beginning of `word`."""
    longest = min(len(text), len(word) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(word[:size])), 0)
