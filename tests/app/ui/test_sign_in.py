"""Signing in: the link of one's own machine, and OAuth on a Space, against a provider that is made here.

Command: pytest tests/app/ui/test_sign_in.py
Promise: whoever is not signed in, came back with another's state or nonce, or is on no list is no maintainer.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient

from app.access.accounts import Accounts, Link
from app.access.maintainers import Maintainers
from app.access.oauth import HubSignIn, hub_sign_in
from app.ui.door import MAINTAINERS_ONLY, Door, Endpoint
from app.ui.sign_in import SignIn

HOST = "https://somebody-desk.hf.space"
OWN = {"sec-fetch-site": "same-origin"}


async def behind(scope: Any, receive: Any, send: Any) -> None:
    """What stands behind the door: answers with what reached it."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def page(sign_in: SignIn, base: str = "http://127.0.0.1:7860") -> TestClient:
    endpoints = {"promote": Endpoint("run", "maintainer"), "flag": Endpoint("run", "visitor")}
    door = Door(behind, endpoints, beside=sign_in.routes(), maintainer=sign_in.maintainer)
    return TestClient(door, base_url=base, follow_redirects=False)


def promote(client: TestClient, **said: Any) -> Any:
    return client.post("/gradio_api/run/promote", json={"data": [said]})


# --- with the link of this machine ---


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def told() -> list[str]:
    """What was printed: a new link each time one was used."""
    return []


@pytest.fixture
def here(link: Link, told: list[str]) -> TestClient:
    return page(SignIn(Accounts(Maintainers(), link), None, lambda: told.append(link.key)))


def test_the_link_makes_a_maintainer_once_and_a_new_one_is_told(
    here: TestClient, link: Link, told: list[str]
) -> None:
    key = link.key
    assert promote(here).status_code == 403
    assert here.post("/sign-in", json={"key": key}, headers=OWN).status_code == 200
    assert here.get("/account").json()["role"] == "maintainer"
    assert promote(here).status_code == 200
    assert told == [link.key] and told != [key]
    other = page(SignIn(Accounts(Maintainers(), link), None))
    again = other.post("/sign-in", json={"key": key}, headers=OWN)
    assert again.status_code == 403 and "was used before" in again.json()["error"]


def test_who_a_maintainer_is_comes_from_the_door_and_never_from_the_request(
    here: TestClient, link: Link
) -> None:
    forged = {"name": "eve", "token": "hf_stolen"}
    as_visitor = here.post("/gradio_api/run/flag", json={"data": [{"maintainer": forged, "x": 1}]})
    assert as_visitor.json() == {"data": [{"x": 1}]}
    assert promote(here, maintainer=forged).json()["error"] == MAINTAINERS_ONLY
    here.post("/sign-in", json={"key": link.key}, headers=OWN)
    reached = promote(here, maintainer=forged).json()["data"][0]["maintainer"]
    assert reached["token"] == "" and reached["name"] != "eve"


def test_signing_out_ends_it(here: TestClient, link: Link) -> None:
    here.post("/sign-in", json={"key": link.key}, headers=OWN)
    kept = here.cookies["backtalk_account"]
    assert here.post("/sign-out", json={}, headers=OWN).json() == {"name": ""}
    here.cookies.set("backtalk_account", kept)
    assert promote(here).status_code == 403
    assert here.get("/account").json() == {"name": "", "role": "visitor", "sign_in": ""}


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
def test_another_site_can_neither_sign_in_nor_out(here: TestClient, link: Link, path: str) -> None:
    body = json.dumps({"key": link.key}).encode()
    foreign = here.post(path, content=body, headers={"content-type": "text/plain"})
    cross = here.post(path, json={"key": link.key}, headers={"sec-fetch-site": "cross-site"})
    assert foreign.status_code == cross.status_code == 403
    assert here.post("/sign-in", json={"key": link.key}, headers=OWN).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b'{"key": 5}', b'{"key": "x"}', b"[" * 5000])
def test_what_is_no_key_is_one_sentence(here: TestClient, body: bytes) -> None:
    answer = here.post("/sign-in", content=body, headers={**OWN, "content-type": "application/json"})
    assert answer.status_code == 403 and "sign-in link" in answer.json()["error"]


# --- gradio's pretended login ---


def test_gradio_s_pretended_login_cannot_be_reached(client: TestClient, monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_owner")
    for path in ("/login/huggingface", "/login/callback", "/logout"):
        assert client.get(path).status_code == 404
    names = {getattr(route, "name", "") for route in everything_behind(client.app)}
    assert "main" in names and not names & {"oauth_login", "oauth_redirect_callback", "oauth_logout"}


def everything_behind(app: Any) -> Iterator[Any]:
    for route in getattr(app, "routes", ()):
        yield route
        yield from everything_behind(getattr(route, "app", None))


@pytest.mark.parametrize(
    "missing", ["SYSTEM", "SPACE_ID", "SPACE_HOST", "OAUTH_CLIENT_ID", "OPENID_PROVIDER_URL"]
)
def test_only_a_space_with_oauth_signs_in_with_the_hub(
    on_space: None, monkeypatch: Any, missing: str
) -> None:
    assert hub_sign_in()
    monkeypatch.delenv(missing)
    assert hub_sign_in() is None


# --- with Hugging Face ---


class Provider(BaseHTTPRequestHandler):
    """Says of everybody what `told` says; signs id tokens for the nonce that `nonce` names."""

    key = RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"})
    told: dict[str, Any] = {}
    nonce = ""
    verifiers: list[str] = []

    def do_GET(self) -> None:
        host = f"http://{self.headers['host']}"
        if self.path == "/oauth/userinfo":
            self._say(self.told)
        elif self.path == "/oauth/jwks":
            self._say({"keys": [self.key.as_dict(private=False)]})
        else:
            ways = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
            endpoints = {f"{name}_endpoint": f"{host}/oauth/{path}" for name, path in ways.items()}
            keys = {"jwks_uri": f"{host}/oauth/jwks", "id_token_signing_alg_values_supported": ["RS256"]}
            self._say({"issuer": host, **endpoints, **keys})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        self.verifiers.append(form["code_verifier"][0])
        claims = {"iss": f"http://{self.headers['host']}", "sub": "1", "aud": "us", "nonce": self.nonce}
        times = {"iat": 1_700_000_000, "exp": 4_000_000_000}
        signed = jwt.encode({"alg": "RS256", "kid": "1"}, {**claims, **times}, self.key)
        self._say({"access_token": "hf_oauth_anna", "token_type": "bearer", "id_token": signed})

    def _say(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def on_space(provider_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Provider.told = {"sub": "1", "preferred_username": "Anna", "orgs": [{"preferred_username": "acme"}]}
    values = {
        "SYSTEM": "spaces",
        "SPACE_ID": "somebody/desk",
        "SPACE_HOST": HOST.removeprefix("https://"),
        "OAUTH_CLIENT_ID": "us",
        "OAUTH_CLIENT_SECRET": "secret",
        "OAUTH_SCOPES": "openid profile",
        "OPENID_PROVIDER_URL": provider_url,
        "BACKTALK_SECRET": "0123456789abcdef0123456789abcdef",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def space_of(**lists: str) -> tuple[TestClient, HubSignIn]:
    hub = hub_sign_in()
    assert hub
    named = Maintainers(
        frozenset(lists.get("people", "").split()), frozenset(lists.get("organisations", "").split())
    )
    return page(SignIn(Accounts(named, None, framed=True), hub), HOST), hub


def leave(client: TestClient) -> dict[str, str]:
    """Goes to the Hub; returns what it was sent there with, and lets the provider know the nonce."""
    answer = client.get("/login/huggingface")
    assert answer.status_code == 303
    asked = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    Provider.nonce = asked["nonce"]
    return asked


def come_back(client: TestClient, state: str) -> Any:
    return client.get(f"/login/callback?{urlencode({'code': 'c', 'state': state})}")


def test_a_maintainer_signs_in_with_the_hub_and_acts_with_their_own_token(on_space: None) -> None:
    client, _ = space_of(people="anna")
    asked = leave(client)
    assert asked["redirect_uri"] == f"{HOST}/login/callback" and asked["code_challenge_method"] == "S256"
    back = come_back(client, asked["state"])
    assert back.headers["location"] == "/#/maintain"
    cookies = back.headers.get_list("set-cookie")
    assert all("HttpOnly" in one and "SameSite=None; Secure; Partitioned" in one for one in cookies)
    assert client.get("/account").json() == {
        "name": "Anna", "role": "maintainer", "sign_in": "login/huggingface"
    }  # fmt: skip
    reached = promote(client).json()["data"][0]["maintainer"]
    assert reached == {"name": "Anna", "token": "hf_oauth_anna"}


def test_whoever_is_on_no_list_is_a_visitor_with_a_name(on_space: None) -> None:
    client, _ = space_of(people="ben", organisations="other")
    assert come_back(client, leave(client)["state"]).headers["location"] == "/"
    assert client.get("/account").json()["role"] == "visitor"
    assert promote(client).status_code == 403


def test_whoever_leaves_the_organisation_maintains_no_more(on_space: None) -> None:
    client, hub = space_of(organisations="acme")
    come_back(client, leave(client)["state"])
    assert promote(client).status_code == 200
    Provider.told = {**Provider.told, "orgs": []}
    hub._looked.clear()  # five minutes later
    assert promote(client).status_code == 403


@pytest.mark.parametrize("wrong", ["state", "nonce", "no cookie", "another sub"])
def test_who_comes_back_with_what_is_not_theirs_is_not_signed_in(on_space: None, wrong: str) -> None:
    client, _ = space_of(people="anna")
    state = leave(client)["state"]
    if wrong == "nonce":
        Provider.nonce = "another"
    elif wrong == "no cookie":
        client.cookies.clear()
    elif wrong == "another sub":
        Provider.told = {**Provider.told, "sub": "2"}
    back = come_back(client, "another" if wrong == "state" else state)
    assert back.headers["location"] == "/#/sign-in/failed"
    assert client.get("/account").json()["name"] == ""


def test_a_hub_that_is_not_reached_is_said_on_the_page(on_space: None, monkeypatch: Any) -> None:
    monkeypatch.setenv("OPENID_PROVIDER_URL", "http://127.0.0.1:9")
    client, _ = space_of(people="anna")
    assert client.get("/login/huggingface").headers["location"] == "/#/sign-in/failed"


def test_a_space_has_no_link_and_one_s_own_machine_no_hub(on_space: None, here: TestClient) -> None:
    client, _ = space_of(people="anna")
    assert client.post("/sign-in", json={"key": ""}, headers=OWN).status_code == 404
    assert here.get("/login/huggingface").status_code == 404
