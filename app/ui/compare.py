"""The Compare tab: two models answer one question, and the visitor says which did better.

    contenders   what can be compared?     -> models, the pair to begin with
    compare      a question to two of them -> A and B as they grow, then the sealed comparison   (streams)
    halt         no more of these answers  -> stopped
    choose       a vote, or its withdrawal -> "saved" once it is on disk, then who was who
                 with `look`               -> the texts as they would be stored

Promise: nothing names a model before the vote is on disk.
"""

import time
from collections.abc import Iterator

from app.compare.comparing import Comparing
from app.compare.contenders import BASE, Contender, chosen, contenders
from app.compare.side_desk import SideDesk
from app.desk.answering import READY, Desk
from app.desk.conversation import Controls
from app.desk.transcript import visitor as visitor_of
from app.flags.flagging import Flagging
from app.ui.endpoint import Json, as_object, at_once, calmly, streamed, told
from app.ui.markdown import render
from app.ui.running import Running, request_id
from backtalk.engine import Place
from backtalk.errors import BacktalkError

AT_ONCE = 8  # comparisons; further ones wait in the queue


class CompareView:
    """Answers the tab."""

    name = "compare"

    def __init__(self, desk: Desk, flagging: Flagging, context: int):
        self._desk, self._flagging = desk, flagging
        self._side_desk = SideDesk(desk, context)
        self._comparing = Comparing(self._side_desk, flagging)
        self._running = Running()

    def endpoints(self) -> None:
        for answer in (self.contenders, self.halt, self.choose):
            at_once(answer)
        streamed(self.compare, most=AT_ONCE)

    def stop_all(self) -> None:
        """Stops every answer that is being written."""
        self._running.stop_all()

    def close(self) -> None:
        self.stop_all()
        self._side_desk.close()

    @calmly
    def contenders(self, request: Json) -> Json:
        if self._desk.state != READY:
            return {**self._desk.told, "models": [], "pair": []}
        models = contenders(self._desk.engine.model)
        return {
            "state": READY,
            "models": [one.to_json() for one in models],
            "pair": _first_pair(models),
            "flagging": self._flagging.state,
        }

    def compare(self, request: Json) -> Iterator[Json]:
        try:
            visitor = visitor_of(as_object(request).get("visitor"))
            controls = Controls.from_form(**as_object(request.get("controls", {})))
            pair = chosen(request.get("pair"), contenders(self._desk.engine.model))
            yield {"begun": True}  # a model may have to be loaded first
            began = time.monotonic()
            pairing = self._comparing.begin(visitor, pair, request.get("question"), controls)
            try:
                with self._running.holding(visitor, request_id(request), pairing):
                    for side, step in pairing:
                        if isinstance(step, Place):
                            yield {"side": side, "place": step.position, "seconds": round(step.seconds)}
                        else:
                            yield {"side": side, "html": render(step)}
                    yield {"sealed": pairing.sealed, "seconds": round(time.monotonic() - began, 1)}
            finally:
                pairing.leave()  # never blocks: a reader who went away is noticed on the server's event loop
        except BacktalkError as fault:
            yield told(fault)

    @calmly
    def halt(self, request: Json) -> Json:
        self._running.stop(visitor_of(request.get("visitor")), request_id(request))
        return {"stopped": True}

    @calmly
    def choose(self, request: Json) -> Json:
        visitor, sealed = visitor_of(request.get("visitor")), request.get("sealed")
        choice = as_object(request.get("choice"))
        if request.get("look") is True:
            return self._comparing.preview(visitor, sealed, choice)
        return self._comparing.vote(visitor, sealed, choice)


def _first_pair(models: list[Contender]) -> list[str]:
    """The model that answers, and beside it the base, else the newest other one."""
    others = sorted(models[1:], key=lambda one: one.kind != BASE)
    return [models[0].key, others[0].key] if others else []
