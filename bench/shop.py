"""The chat in this process: the same endpoints as behind an address, without a server, for long simulations.

with Shop.open(home, "mini") as shop:
    visitor = Visitor(shop)
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.desk.answering import Desk
from app.flags.flagging import Flagging
from app.ui.chat import Chat

Json = dict[str, Any]
CONTEXT = 2048


class Shop:
    """Answers as `backtalk.visitor.Server` does."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    @staticmethod
    @contextmanager
    def open(home: Path, ref: str) -> Iterator["Shop"]:
        """A chat with this model whose state lies in `home`, the process's own folder: one at a time."""
        os.environ["BACKTALK_HOME"] = str(home)
        desk = Desk.for_model(ref, CONTEXT, 1).start()
        desk.wait()
        chat = Chat(desk, Flagging.at_home())
        try:
            yield Shop(chat)
        finally:
            chat.close()
            desk.close()

    def run(self, name: str, request: Json) -> Json:
        return getattr(self._chat, name)(request)

    def ask(self, request: Json) -> Iterator[Json]:
        return self._chat.ask(request)
