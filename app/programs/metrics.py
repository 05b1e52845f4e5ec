"""`GET /metrics`: what an operator may count, as Prometheus reads it; nothing of any visitor.

app = Metrics(desk, flagging, key)      an ASGI app; with a key it is wanted here, too
"""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from app.access.key import Key
from app.desk.answering import READY, Desk
from app.flags.flagging import Flagging
from backtalk.engine.prometheus import CONTENT_TYPE, as_text

READY_LINE = ("backtalk_model_ready", "1 while there is a model that answers.")
FLAGS = {
    "standing": ("backtalk_flags_standing", "Flags on this machine that were not taken back."),
    "unsealed": ("backtalk_flag_events_unsealed", "Events of flags that are in no segment yet."),
    "waiting": ("backtalk_flag_events_waiting", "Events of flags under consent that are not on the Hub yet."),
}


class Metrics:
    """The engine's numbers since it was loaded, and how many flags wait."""

    def __init__(self, desk: Desk, flagging: Flagging, key: Key | None):
        self._desk, self._flagging, self._key = desk, flagging, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(Request(scope, receive))
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if self._key and not self._key.opens(request.headers.get("authorization", "")):
            return JSONResponse({"error": "The numbers want this server's key as a bearer token."}, 401)
        return PlainTextResponse(await run_in_threadpool(self.text), media_type=CONTENT_TYPE)

    def text(self) -> str:
        """One sample a line, each with its help."""
        ready = self._desk.state == READY
        lines = _gauge(*READY_LINE, int(ready))
        for name, number in self._flagging.numbers().items():
            lines += _gauge(*FLAGS[name], number)
        return "\n".join(lines) + "\n" + (as_text(self._desk.engine.metrics()) if ready else "")


def _gauge(name: str, help: str, value: int) -> list[str]:
    return [f"# HELP {name} {help}", f"# TYPE {name} gauge", f"{name} {value}"]
