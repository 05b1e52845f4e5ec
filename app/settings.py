"""The knobs of the served chat: each has its default, its help and its flag here."""

from dataclasses import dataclass
from typing import Literal

from backtalk.config import knob
from backtalk.errors import WordsError


@dataclass(frozen=True)
class Settings:
    """What `backtalk chat` serves, and where."""

    model: str = knob(
        "", "which model answers: mini, promoted, an alias, a path or hf://owner/repo/file.gguf"
    )
    host: str = knob("127.0.0.1", "address to listen on; 0.0.0.0 lets other machines in")
    port: int = knob(7860, "port to listen on")
    history: Literal["full", "last_n", "off"] = knob("full", "what a new visitor's history switch says")
    context: int = knob(8192, "tokens that the model may hold at once, where it was trained for as many")
    threads: int = knob(0, "threads that compute; 0 is the cores that this process may use")
    metrics: bool = knob(
        False, "numbers for Prometheus at /metrics, with no word of a visitor; where there is a key, with it"
    )
    api_key_file: str = knob(
        "", "a file with the key that opens /v1/chat/completions to programs; BACKTALK_API_KEY does the same"
    )
    dev: bool = knob(False, "read the page's style and script anew at each load")

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise WordsError(f"The port is {self.port}; wanted is a number from 1 to 65535.")
        if self.context < 256:
            raise WordsError(
                f"The context is {self.context} tokens; at least 256 are needed for a conversation."
            )
        if self.threads < 0:
            raise WordsError(f"The number of threads is {self.threads}; wanted is 0 or more.")
