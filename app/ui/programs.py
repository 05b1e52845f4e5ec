"""gradio_client's way in: to the public functions, and to nothing else of Gradio.

    programs = Programs(app, {"chat": (12, 11)})     by name: its number, and how many arguments it takes
    Door(app, ..., beside=programs.routes())

The client asks /config and /gradio_api/info what there is, joins Gradio's queue with a function's number, and
listens to what its own session is told. A session's name is the client's secret: 32 random digits or more.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.incoming import understood, written

INFO, JOIN, DATA = "/gradio_api/info", "/gradio_api/queue/join", "/gradio_api/queue/data"
LARGEST_REQUEST = 4 * 2**20  # bytes: a conversation of some 2,000 messages
SESSION = re.compile(r"[A-Za-z0-9-]{32,64}")

Json = dict[str, Any]


class Programs:
    """An ASGI app before Gradio's: a request reaches that one without anything that was not checked here."""

    def __init__(self, app: ASGIApp, functions: Mapping[str, tuple[int, int]]):
        self._app = app
        self._names = {number: name for name, (number, _) in functions.items()}
        self._arguments = dict(functions.values())

    def routes(self) -> dict[tuple[str, str], ASGIApp]:
        """What it answers, by method and path."""
        return {("GET", INFO): self, ("GET", DATA): self, ("POST", JOIN): self}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            query = _query(scope)
            if scope["method"] == "POST":
                receive = _replay(self._checked(await _body(Request(scope, receive))), receive)
        except ValueError as fault:
            status = 413 if isinstance(fault, _TooLarge) else 422
            await JSONResponse({"error": str(fault)}, status)(scope, receive, send)
        except ClientDisconnect:
            pass
        else:
            await self._app({**scope, "query_string": query}, receive, send)

    def _checked(self, value: Any) -> Json:
        """A call of a public function. Raises ValueError with one sentence for anything else."""
        number = value.get("fn_index") if isinstance(value, dict) else None
        if isinstance(number, bool) or not isinstance(number, int) or number not in self._names:
            known = ", ".join(f"/{name}" for name in self._names.values())
            raise ValueError(f"The request names no function for programs. Known are {known}.")
        data, wanted = value.get("data"), self._arguments[number]
        if not isinstance(data, list) or len(data) != wanted:
            raise ValueError(f"/{self._names[number]} takes a list of {wanted} arguments as data.")
        return {"data": data, "fn_index": number, "session_hash": _session(value.get("session_hash"))}


class _TooLarge(ValueError):
    pass


def _query(scope: Scope) -> bytes:
    """What is asked for beside the path stays outside, except the session that listens."""
    if scope["path"] != DATA:
        return b""
    named = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])
    return f"session_hash={_session(named[0])}".encode()


def _session(name: Any) -> str:
    if not isinstance(name, str) or not SESSION.fullmatch(name):
        raise ValueError("The session has no proper name: 32 to 64 letters, digits or -.")
    return name


async def _body(request: Request) -> Any:
    """The JSON of a request. Raises ValueError for what is none, or too large."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise ValueError("The request does not call itself application/json.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_REQUEST:
            raise _TooLarge(f"The request is larger than {LARGEST_REQUEST >> 20} MiB. Send less.")
    return understood(body)


def _replay(value: Json, receive: Receive) -> Receive:
    """The checked request for the app behind, then whatever comes after it."""
    waiting = [{"type": "http.request", "body": written(value), "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
