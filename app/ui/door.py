"""The door before the page: what may come in, and how a fault goes out.

Gradio brings routes for uploads, files, proxies and more that this page does not use; only those listed here
are open. A request that cannot be right is answered with one sentence before it reaches Gradio, and an
internal fault with one sentence after. Every page says which hosts it may load from: this one, no other.

Promise: a maintainer's endpoint is reached by maintainers alone; who that is comes from the door, whatever a
request says of it.
"""

import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.accounts import Person
from app.access.incoming import understood, written
from app.ui.endpoint import FROM_THE_DOOR, MAINTAINER, Role, told
from backtalk.errors import BacktalkError, WordsError

OPEN = {
    "GET": re.compile(
        r"/|/page/\w+/[\w.-]+|/(assets|static)/[\w./-]+|/theme\.css|/favicon\.ico|/robots\.txt|/config|/health"
        r"|/gradio_api/(startup-events|heartbeat/\w+|call/(?P<name>\w+)/\w+)"
    ),
    "POST": re.compile(r"/gradio_api/(?P<way>call|run)/(?P<name>\w+)"),
}
LARGEST_REQUEST = 32 * 2**20  # bytes: a conversation of some 20,000 messages
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        # Gradio writes inline scripts and builds functions from its templates; everything else stays at home.
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        b"style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
        b"base-uri 'self'; form-action 'self'",
    ),
]

MAINTAINERS_ONLY = "Only maintainers of this chat may do this. Sign in as one first."

Json = dict[str, Any]
WhoMaintains = Callable[[str], Awaitable[Person | None]]
"""The maintainer whom the header `Cookie` names, or None."""


@dataclass(frozen=True)
class Endpoint:
    """How one is asked, queued ("call") or at once ("run"), and who may."""

    way: Literal["call", "run"]
    role: Role


async def nobody(_cookies: str) -> Person | None:
    """Without a sign-in nobody is a maintainer."""
    return None


class Door:
    """ASGI middleware. `endpoints` by name; `early`: files the page soon needs; `beside`: what is answered
    beside the page, by method and path; `maintainer` says which maintainer is asking.
    """

    def __init__(
        self,
        app: ASGIApp,
        endpoints: Mapping[str, Endpoint],
        early: Sequence[str] = (),
        beside: Mapping[tuple[str, str], ASGIApp] | None = None,
        maintainer: WhoMaintains = nobody,
    ):
        self._app, self._endpoints, self._beside = app, endpoints, beside or {}
        self._maintainer = maintainer
        self._early = [(b"link", ", ".join(_preload(file) for file in early).encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        way_in = _way_in(scope["method"], scope["path"])
        if other := self._beside.get((scope["method"], scope["path"])):
            await self._pass_on(other, scope, receive, send)
        elif way_in is None:
            nothing = WordsError("There is nothing at this address. The page is at /.").called("out_of_step")
            await _say(send, 404, nothing)
        elif scope["path"] == "/health":
            await _answer(send, 200, {"status": "ok"})
        elif not (person := await self._known(way_in, scope)) and self._is_for_maintainers(way_in):
            await _say(send, 403, WordsError(MAINTAINERS_ONLY).called("maintainers_only"))
        elif scope["method"] == "POST":
            await self._let_in(way_in, person, scope, receive, send)
        else:
            await self._pass_on(self._app, scope, receive, send)

    def _is_for_maintainers(self, way_in: re.Match[str]) -> bool:
        endpoint = self._endpoints.get(way_in["name"] or "")
        return endpoint is not None and endpoint.role == MAINTAINER

    async def _known(self, way_in: re.Match[str], scope: Scope) -> Person | None:
        """The maintainer who asks for something that only maintainers may."""
        if not self._is_for_maintainers(way_in):
            return None
        headers = dict(scope["headers"])
        return await self._maintainer(headers.get(b"cookie", b"").decode("latin-1"))

    async def _let_in(
        self, way_in: re.Match[str], person: Person | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        body = await _read(receive)
        if body is None:
            most = LARGEST_REQUEST >> 20
            large = WordsError(f"The request is larger than {most} MiB.").called(
                "too_large_to_send", most=most
            )
            await _say(send, 413, large)
            return
        try:
            data = _as_from(person, self._checked(way_in, dict(scope["headers"]), body))
        except ValueError as fault:
            await _say(send, 422, WordsError(str(fault)).called("out_of_step"))
            return
        await self._pass_on(self._app, scope, _replay(written({"data": data}), receive), send)

    def _checked(self, way_in: re.Match[str], headers: Mapping[bytes, bytes], body: bytes) -> list[Json]:
        """The one object that an endpoint takes; what else Gradio would understand stays outside."""
        way, name = way_in["way"], way_in["name"]
        if name not in self._endpoints:
            raise ValueError(f"There is no endpoint '{name[:60]}'. Known are {', '.join(self._endpoints)}.")
        if (right := self._endpoints[name].way) != way:
            raise ValueError(f"The endpoint {name} is asked at /gradio_api/{right}/{name}.")
        if not headers.get(b"content-type", b"").startswith(b"application/json"):
            # A page of another site can send anything else in a visitor's name without being asked first.
            raise ValueError("The request does not call itself application/json.")
        value = understood(body)
        data = value.get("data") if isinstance(value, dict) else None
        if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], dict):
            raise ValueError(f'The endpoint {name} takes {{"data": [{{...}}]}}: a list with one object.')
        return data

    async def _pass_on(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        guard = _Guard(send, [*HEADERS, *(self._early if scope["path"] == "/" else ())])
        try:
            await app(scope, receive, guard)
        except (
            Exception
        ) as fault:  # whoever is behind has answered already or never will; say it once, calmly
            if not isinstance(fault.__cause__, HTTPException):  # of a stream that is not there: it was told
                print(f"A request to {scope['path']} failed: {fault!r}", file=sys.stderr)
            await guard.close()


def _as_from(person: Person | None, data: list[Json]) -> list[Json]:
    """The request without what only the door may say, and with it where it is a maintainer's."""
    said = {name: value for name, value in data[0].items() if name not in FROM_THE_DOOR}
    if person:
        said["maintainer"] = {"name": person.name, "token": person.token}
    return [said]


INTERNAL = "Something went wrong on the server; nothing is lost. Please try again."


class _Guard:
    """Passes an answer on with our headers; the text of an internal fault is replaced by one sentence."""

    def __init__(self, send: Send, headers: Sequence[tuple[bytes, bytes]]):
        self._send, self._headers = send, headers
        self._begun = self._done = False

    async def __call__(self, message: Message) -> None:
        if self._done:
            return
        if message["type"] == "http.response.start":
            if message["status"] == 500:
                await self.close()
                return
            self._begun = True
            message = {**message, "headers": [*message["headers"], *self._headers]}
        elif message["type"] == "http.response.body":
            self._done = not message.get("more_body")
        await self._send(message)

    async def close(self) -> None:
        """Ends an answer that the app behind the door did not end."""
        if self._begun and not self._done:
            await self._send({"type": "http.response.body", "body": b""})
        elif not self._begun:
            await _say(self._send, 500, BacktalkError(INTERNAL).called("internal"))
        self._begun = self._done = True


def _preload(file: str) -> str:
    """A browser fetches it beside Gradio's own scripts, not after them."""
    return f"<{file}>; rel={'modulepreload' if file.endswith('.js') else 'preload; as=style'}"


def _way_in(method: str, path: str) -> re.Match[str] | None:
    pattern = OPEN.get("GET" if method == "HEAD" else method)
    return pattern.fullmatch(path) if pattern else None


async def _read(receive: Receive) -> bytes | None:
    """The body of a request; None when it is too large or its sender went away."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_REQUEST:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once more for the app behind the door, then whatever comes after it."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


async def _say(send: Send, status: int, fault: BacktalkError) -> None:
    await _answer(send, status, told(fault))


async def _answer(send: Send, status: int, value: Json) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
