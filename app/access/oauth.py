"""Signing in with Hugging Face, on a Space: OAuth's code flow with state, nonce and PKCE, by authlib.

    hub = hub_sign_in()                             None where this is no Space with `hf_oauth: true`
    address, kept = await hub.leave(request)        where the browser goes; what to keep until it is back
    known = await hub.come_back(request, kept)      who came back; SignInError for whoever did not

Gradio's own login is not used: without `SYSTEM=spaces` it would take every visitor for the owner of HF_TOKEN.
"""

import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from backtalk.errors import BacktalkError, NetworkError

if TYPE_CHECKING:
    from authlib.integrations.starlette_client import StarletteOAuth2App

CALLBACK = "/login/callback"  # what the Hub registers for a Space
LOOK_AGAIN_SECONDS = 300  # who is in an organisation is asked anew after this long
KEPT = 1000  # answers to that
NEEDED = ("SPACE_ID", "SPACE_HOST", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OPENID_PROVIDER_URL")
PLAIN = "openid profile"


class SignInError(BacktalkError):
    """Somebody came back from the Hub without having signed in."""


@dataclass(frozen=True)
class Known:
    """What the Hub says of somebody: name, organisations, and their token."""

    name: str
    organisations: tuple[str, ...]
    token: str


def hub_sign_in() -> "HubSignIn | None":
    """The Hub's sign-in, where this is a Space that may use it."""
    if os.environ.get("SYSTEM") != "spaces" or not all(os.environ.get(name) for name in NEEDED):
        return None
    return HubSignIn()


class HubSignIn:
    """Speaks to the Hub as this Space."""

    def __init__(self) -> None:
        host = (
            os.environ["SPACE_HOST"].split(",")[0].strip()
        )  # with a domain of its own, the Hub's name is first
        self._callback = f"https://{host}{CALLBACK}"
        self._provider = os.environ["OPENID_PROVIDER_URL"].rstrip("/")
        self._looked: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()

    async def leave(self, request: Request) -> tuple[str, dict[str, Any]]:
        """The Hub's address to go to, and what has to be kept until the browser is back.

        Raises SignInError where the Hub is not reached.
        """
        from authlib.common.errors import AuthlibBaseError
        from httpx2 import HTTPError

        kept = _with_session(request, {})
        try:
            answer = await self._app().authorize_redirect(request, self._callback)
        except (AuthlibBaseError, HTTPError, ValueError) as fault:
            raise SignInError(
                f"The Hub was not reached ({type(fault).__name__}). Try again later."
            ) from fault
        return answer.headers["location"], kept

    async def come_back(self, request: Request, kept: dict[str, Any]) -> Known:
        """Who came back. Raises SignInError where state, nonce or code do not fit, or the Hub says no."""
        from authlib.common.errors import AuthlibBaseError
        from httpx2 import HTTPError
        from joserfc.errors import JoseError

        _with_session(request, kept)
        try:
            app = self._app()
            token = await app.authorize_access_token(request)
            signed = token.get("userinfo") or {}
            told = await app.userinfo(token=token)
        except (AuthlibBaseError, HTTPError, JoseError, ValueError, KeyError) as fault:
            raise SignInError(f"The Hub did not sign you in ({type(fault).__name__}). Try again.") from fault
        if not signed.get("sub") or signed["sub"] != told.get("sub"):
            raise SignInError("The Hub answered for somebody else. Try again.")
        return Known(str(told["preferred_username"]), _organisations(told), str(token["access_token"]))

    async def organisations(self, token: str) -> tuple[str, ...]:
        """Those that the owner of a token belongs to now, as the Hub said at most five minutes ago.

        Raises NetworkError where the Hub is not reached or does not know the token any more.
        """
        from authlib.common.errors import AuthlibBaseError
        from httpx2 import HTTPError

        key = sha256(token.encode()).hexdigest()
        at, known = self._looked.get(key, (0.0, ()))
        if at and time.monotonic() - at < LOOK_AGAIN_SECONDS:
            return known
        try:
            told = await self._app().userinfo(token={"access_token": token, "token_type": "bearer"})
        except (AuthlibBaseError, HTTPError, ValueError) as fault:
            raise NetworkError(
                "The Hub did not say which organisations you are in. Sign in again."
            ) from fault
        self._looked[key] = time.monotonic(), _organisations(told)
        while len(self._looked) > KEPT:
            self._looked.popitem(last=False)
        return self._looked[key][1]

    def _app(self) -> "StarletteOAuth2App":
        from authlib.integrations.starlette_client import OAuth

        oauth = OAuth()
        oauth.register(
            "huggingface",
            client_id=os.environ["OAUTH_CLIENT_ID"],
            client_secret=os.environ["OAUTH_CLIENT_SECRET"],
            server_metadata_url=f"{self._provider}/.well-known/openid-configuration",
            client_kwargs={
                "scope": os.environ.get("OAUTH_SCOPES") or PLAIN,
                "code_challenge_method": "S256",
                "timeout": 20,
            },
        )
        return oauth.huggingface


def _with_session(request: Request, kept: dict[str, Any]) -> dict[str, Any]:
    """authlib keeps state, nonce and the code's verifier in what Starlette calls a session."""
    request.scope["session"] = kept
    return kept


def _organisations(told: dict[str, Any]) -> tuple[str, ...]:
    found = (one.get("preferred_username") or one.get("name") for one in told.get("orgs") or ())
    return tuple(str(name) for name in found if name)
