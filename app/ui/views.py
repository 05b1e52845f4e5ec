"""The tabs of the page: what each needs of Python, in the order of the row.

A view answers the page in app/ui/NAME.py and draws itself in web/NAME.js; its tab shows where it is listed here.
"""

from typing import Protocol

from app.answering import Desk
from app.flagging import Flagging
from app.settings import Settings
from app.ui.chat import Chat

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
    """The tabs that are shown."""

    def stop_all(self) -> None:
        """Stops every answer that is being written. Called by a signal: waits for nothing."""
        for view in self:
            stop = getattr(view, "stop_all", None)
            if stop:
                stop()

    def close(self) -> None:
        for view in self:
            view.close()


def open_views(desk: Desk, flagging: Flagging, settings: Settings) -> Views:
    """Every view, at a desk and an outbox."""
    return Views([Chat(desk, flagging)])
