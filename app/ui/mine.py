"""The My flags tab: what one has said, where it is, what became of it; changed and taken back in one place.

    mine        my flags, newest first, from `start` on; of `known` answers, those whose flags are not here
    amend       another vote, reason or word   -> "saved" once it is on disk, and the flag
                with `look`                    -> the texts as they would be stored
    withdraw    one of them is taken back      -> which are gone, and the commit that still holds their texts
    mine_rows   all that is stored of mine     -> JSON lines, as they are stored

Promise: the visitor's signed token says whose flags they are, and nothing else does.
"""

from app.desk.answering import READY, Desk
from app.desk.transcript import visitor as visitor_of
from app.flags.flagging import Flagging
from app.flags.mine import PAGE, Mine
from app.ui.endpoint import Json, as_object, at_once, calmly
from backtalk.errors import WordsError

LARGEST_START = 1_000_000


class MineView:
    """Answers the tab."""

    name = "mine"

    def __init__(self, desk: Desk, flagging: Flagging):
        self._desk, self._flagging = desk, flagging
        self._mine = Mine(flagging)

    def endpoints(self) -> None:
        for answer in (self.mine, self.amend, self.withdraw, self.mine_rows):
            at_once(answer)

    def close(self) -> None:
        pass

    @calmly
    def mine(self, request: Json) -> Json:
        visitor, known = visitor_of(request.get("visitor")), request.get("known", [])
        if not isinstance(known, list) or not all(isinstance(name, str) for name in known):
            raise WordsError("The request names no answers. Reload the page.").called("out_of_step")
        served = self._desk.engine.model.round if self._desk.state == READY else 0
        page = self._mine.page(visitor, _start(request), served)
        missing = self._mine.missing(visitor, known)
        return {**page, "size": PAGE, "missing": missing, "flagging": self._flagging.state}

    @calmly
    def amend(self, request: Json) -> Json:
        visitor, choice = visitor_of(request.get("visitor")), as_object(request.get("choice"))
        if request.get("look") is True:
            return self._mine.preview(visitor, request.get("flag"), choice)
        return self._mine.amend(visitor, request.get("flag"), choice)

    @calmly
    def withdraw(self, request: Json) -> Json:
        return self._mine.withdraw(visitor_of(request.get("visitor")), request.get("flag"))

    @calmly
    def mine_rows(self, request: Json) -> Json:
        lines = list(self._mine.lines(visitor_of(request.get("visitor"))))
        return {"count": len(lines), "lines": "".join(f"{line}\n" for line in lines)}


def _start(request: Json) -> int:
    start = request.get("start", 0)
    if isinstance(start, bool) or not isinstance(start, int) or not 0 <= start <= LARGEST_START:
        raise WordsError(
            f"The first flag to show is {start!r:.40}; wanted is a whole number from 0 on."
        ).called("out_of_step")
    return start
