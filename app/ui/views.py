"""The tabs of the page: what each needs of Python, in the order of the row.

A view answers the page in app/ui/NAME.py and draws itself in web/NAME.js. A tab shows if it is listed here.
"""

from typing import Protocol

from app.desk.answering import READY, Desk
from app.flags.flagging import Flagging
from app.flags.insights import Board
from app.settings import Settings
from app.ui.chat import Chat
from app.ui.compare import CompareView
from app.ui.insights import Insights
from app.ui.maintain import Maintain
from app.ui.mine import MineView
from app.ui.public import Public

ORDER = ("chat", "compare", "mine", "insights", "maintain")


class View(Protocol):
    """One tab."""

    @property
    def name(self) -> str:
        """One of ORDER."""

    def endpoints(self) -> None:
        """Registers its endpoints with the app that is being built: see app/ui/endpoint.py."""

    def close(self) -> None:
        """Ends what it has begun; the server ends."""


class Views(list[View]):
    """What answers the page: the tabs that are shown."""

    def stop_all(self) -> None:
        """Stops every answer that is being written. Called by a signal: waits for nothing."""
        for view in self:
            stop = getattr(view, "stop_all", None)
            if stop:
                stop()

    def close(self) -> None:
        for view in reversed(self):  # the chat, which was there first, closes what all of them use
            view.close()


def open_views(desk: Desk, flagging: Flagging, settings: Settings) -> Views:
    """Every view, at a desk and an outbox."""
    board = Board(served=lambda: desk.engine.model.round if desk.state == READY else 0)
    return Views(
        [
            Chat(desk, flagging),
            CompareView(desk, flagging, settings.context),
            MineView(desk, flagging),
            Insights(board),
            Public(desk, flagging, board),
            Maintain(),
        ]
    )
