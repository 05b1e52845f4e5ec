"""Who acts: a maintainer's name, and their own token of the Hub where they signed in there.

    maintainer = Maintainer.of(request)
    maintainer.run(["promote", "exports/shop-3", "--why=round 3"])      the verb's JSON line

A verb that is run for a maintainer never gets the token of the Space: where they have none of their own, it
has none. On their own machine, where the link in the terminal let them in, it has what the terminal has.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backtalk.errors import BacktalkError, WordsError
from backtalk.home import on_space

Json = dict[str, Any]

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "BACKTALK_JOB_TOKEN", "BACKTALK_SPACE_TOKEN")
MOST_SECONDS = 300  # of a verb that somebody waits for


@dataclass(frozen=True)
class Maintainer:
    """A maintainer as the door let them in."""

    name: str
    token: str = ""

    @staticmethod
    def of(request: Mapping[str, Any]) -> "Maintainer":
        """Who the door says is asking. Raises WordsError where it says nobody."""
        told = request.get("maintainer")
        if not isinstance(told, dict) or not str(told.get("name") or "").strip():
            raise WordsError("This is for maintainers. Sign in as one, then open the page again.")
        return Maintainer(str(told["name"]), str(told.get("token") or ""))

    @property
    def has_token(self) -> bool:
        """Whether a verb of theirs will be known to the Hub."""
        return bool(self.environment().get("HF_TOKEN"))

    def environment(self) -> dict[str, str]:
        """That of a verb: ours, but for whose token it holds."""
        ours = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if not self.token and not on_space():
            return ours
        own = {name: value for name, value in ours.items() if name not in TOKENS}
        return {**own, "HF_TOKEN": self.token} if self.token else own

    def run(self, words: Sequence[str], seconds: float = MOST_SECONDS) -> Json:
        """Runs `backtalk WORDS` to its end and returns its JSON line.

        Raises BacktalkError with the verb's own sentence where it failed, or with one where it took too long.
        """
        try:
            done = subprocess.run(
                command(*words, "--json"),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as fault:
            raise BacktalkError(
                f"backtalk {words[0]} took longer than {seconds:.0f} seconds and was ended. "
                "Try it in a terminal."
            ) from fault
        if done.returncode:
            raise BacktalkError(_last_line(done.stderr) or f"backtalk {words[0]} ended with no word.")
        return dict(json.loads(_last_line(done.stdout)))


def command(*words: str) -> list[str]:
    """The words of a process that is one verb."""
    return [sys.executable, "-m", "backtalk", *words]


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
