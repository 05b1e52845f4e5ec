"""Signing in and out, and who is signed in: what the page asks beside its endpoints.

    GET  /account             -> {"name", "role", "sign_in"}; sign_in: the way to the Hub, "" if there is none
    POST /sign-in             {"key": of the link in the terminal}      -> the cookie; the link works once
    POST /sign-out            the cookie is gone, and nobody's wherever a copy of it is
    GET  /login/huggingface   away to the Hub           (on a Space)
    GET  /login/callback      back from there           (on a Space)

    beside = SignIn(accounts, hub_sign_in()).routes()

Promise: who somebody is stands in a cookie that no script reads; the link's key never enters an address that
is sent to a server.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access.accounts import HUB, LINK, STATE, Accounts, Person, cookie_value, own_name
from app.access.incoming import understood
from app.access.oauth import CALLBACK, HubSignIn, SignInError
from app.access.seal import seal, unseal
from app.maintain.actions import record
from app.ui.endpoint import MAINTAINER, VISITOR
from backtalk.errors import NetworkError, TranscriptError

LOGIN = "/login/huggingface"
STATE_SECONDS = 600  # to sign in at the Hub and be back
LARGEST_KEY = 1000  # bytes of the request that shows the link's key
MAINTAIN, CHAT, FAILED = "/#/maintain", "/", "/#/sign-in/failed"
SPENT = "This sign-in link was used before or is not this server's. The newest one stands in the terminal."
OUTSIDE = "Only Backtalk's own page may ask this."

Answer = Callable[[Request], Awaitable[Response]]


class SignIn:
    """`hub` is None where nobody can sign in with Hugging Face; `used` is called when the link was."""

    def __init__(self, accounts: Accounts, hub: HubSignIn | None, used: Callable[[], None] = lambda: None):
        self._accounts, self._hub, self._used = accounts, hub, used

    def routes(self) -> dict[tuple[str, str], ASGIApp]:
        """What the door lets in beside the page, by method and path."""
        served: dict[tuple[str, str], Answer] = {("GET", "/account"): self._account}
        served["POST", "/sign-out"] = self._sign_out
        if self._accounts.link:
            served["POST", "/sign-in"] = self._with_link
        if self._hub:
            served |= {("GET", LOGIN): self._leave, ("GET", CALLBACK): self._come_back}
        return {place: _asgi(answer) for place, answer in served.items()}

    async def maintainer(self, cookies: str) -> Person | None:
        """The maintainer in the header `Cookie`, as of now; None for anybody else."""
        person = self._accounts.person(cookies)
        if not self._accounts.is_maintainer(person) or person is None:
            return None
        if person.way == HUB and not self._accounts.maintainers.includes(person.name):
            return person if await self._is_still_member(person) else None
        return person

    async def _is_still_member(self, person: Person) -> bool:
        """A name holds until it is taken off the list; a membership is the Hub's to say."""
        if not self._hub:
            return False
        try:
            return bool(self._accounts.maintainers.shared(await self._hub.organisations(person.token)))
        except NetworkError:
            return False

    async def _account(self, request: Request) -> Response:
        cookies = request.headers.get("cookie", "")
        person = self._accounts.person(cookies)
        role = MAINTAINER if await self.maintainer(cookies) else VISITOR
        way = LOGIN.removeprefix("/") if self._hub else ""
        return JSONResponse({"name": person.name if person else "", "role": role, "sign_in": way})

    async def _with_link(self, request: Request) -> Response:
        link = self._accounts.link
        if not _is_own_page(request) or link is None:
            return _no(403, OUTSIDE)
        if not link.spend(await _key(request)):
            return _no(403, SPENT)
        person = Person(own_name(), LINK)
        record({"name": person.name}, "sign in", "done", way=LINK)
        self._used()
        return _with_cookie(JSONResponse({"name": person.name}), self._accounts.cookie(person))

    async def _sign_out(self, request: Request) -> Response:
        if not _is_own_page(request):
            return _no(403, OUTSIDE)
        if person := self._accounts.person(request.headers.get("cookie", "")):
            self._accounts.end(person)
        return _with_cookie(JSONResponse({"name": ""}), self._accounts.no_cookie())

    async def _leave(self, request: Request) -> Response:
        assert self._hub
        accounts = self._accounts
        try:
            address, kept = await self._hub.leave(request)
        except SignInError:
            return RedirectResponse(FAILED, 303)
        cookie = accounts.set_cookie(accounts.state_name, seal(STATE, "", kept), STATE_SECONDS)
        return _with_cookie(RedirectResponse(address, 303), cookie)

    async def _come_back(self, request: Request) -> Response:
        assert self._hub
        accounts = self._accounts
        sealed = cookie_value(request.headers.get("cookie", ""), accounts.state_name)
        try:
            known = await self._hub.come_back(request, unseal(STATE, "", sealed, STATE_SECONDS))
        except (SignInError, TranscriptError):
            return RedirectResponse(FAILED, 303)
        shared = tuple(sorted(accounts.maintainers.shared(known.organisations)))
        person = Person(known.name, HUB, known.token, shared)
        is_maintainer = accounts.is_maintainer(person)
        if is_maintainer:
            record({"name": person.name}, "sign in", "done", way=HUB)
        answer = RedirectResponse(MAINTAIN if is_maintainer else CHAT, 303)
        gone = accounts.set_cookie(accounts.state_name, "", 0)
        return _with_cookie(_with_cookie(answer, accounts.cookie(person)), gone)


def _is_own_page(request: Request) -> bool:
    """Browsers say where a request comes from; a page of another site cannot make them lie about it."""
    is_json = request.headers.get("content-type", "").startswith("application/json")
    return is_json and request.headers.get("sec-fetch-site", "none") in ("same-origin", "none")


async def _key(request: Request) -> Any:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_KEY:
            return None
    try:
        told = understood(body)
    except ValueError:
        return None
    return told.get("key") if isinstance(told, dict) else None


def _with_cookie(answer: Response, cookie: str) -> Response:
    answer.headers.append("set-cookie", cookie)
    answer.headers["cache-control"] = "no-store"
    return answer


def _no(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


def _asgi(answer: Answer) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await answer(Request(scope, receive))
        response.headers.setdefault("cache-control", "no-store")
        await response(scope, receive, send)

    return app
