"""The insights tab: one question, answered to everybody alike.

insights    what do visitors say?     -> counts, shares and times; see app/flags/insights.py
"""

from app.flags.insights import Board
from app.ui.endpoint import Json, at_once, calmly


class Insights:
    """Answers the page; who asks plays no part in the answer."""

    name = "insights"

    def __init__(self, board: Board):
        self._board = board

    def endpoints(self) -> None:
        at_once(self.insights)

    @calmly
    def insights(self, request: Json) -> Json:
        return self._board.now()

    def close(self) -> None:
        """Nothing is held."""
