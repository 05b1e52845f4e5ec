"""Who may call what: every endpoint that the app exposes, with the role and without.

Command: pytest tests/app/ui/test_roles.py
Promise: an endpoint that is not listed here fails a test; none for maintainers is reached by anybody else.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.access.accounts import HUB, LINK, PERSON, STATE, Accounts, Link, Person
from app.access.maintainers import Maintainers
from app.access.seal import seal
from app.ui.door import MAINTAINERS_ONLY, Door
from app.ui.endpoint import ROLES
from app.ui.page import endpoints_of
from app.ui.sign_in import SignIn

VISITORS = {
    *("enter", "status", "ask", "stop", "open", "save", "preview", "agree", "receipts"),
    *("contenders", "compare", "choose", "halt"),
    *("mine", "mine_rows", "amend", "withdraw"),
    "insights",
}
MAINTAINERS = {
    *("review_queue", "review_decide", "review_undo", "fetch_others", "set_preview", "set_curate"),
    *("rounds", "round_look", "round_start", "round_stop", "experiments", "experiment_ask"),
    *("models", "model_promote", "model_rollback"),
}
PROGRAMS = {"chat", "flag", "stats"}  # see test_public.py
FORGERIES = (
    "nothing", "plain", "as JSON", "unsigned", "for another purpose", "of a Space", "of the Hub"
)  # fmt: skip


def blocks_of(client: TestClient) -> Any:
    """The Gradio app behind the door."""
    return next(found for found in _blocks(client.app) if found is not None)


def _blocks(app: Any) -> Iterator[Any]:
    for route in getattr(app, "routes", ()):
        yield getattr(getattr(route, "app", None), "blocks", None)


@pytest.fixture
def recorder(client: TestClient) -> TestClient:
    """The door with every endpoint of the app, and behind it what only answers with what reached it."""

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive()).get("body", b"")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body or b"{}"})

    sign_in = SignIn(Accounts(Maintainers(), Link()), None)
    door = Door(behind, endpoints_of(blocks_of(client)), maintainer=sign_in.maintainer)
    return TestClient(door, base_url="http://127.0.0.1:7860")


def forged(how: str) -> str:
    """A header of somebody who would like to be a maintainer."""
    name = "backtalk_account"
    told = {"name": "eve", "way": LINK, "token": "", "organisations": [], "id": "1", "role": "maintainer"}
    headers = {
        "nothing": "",
        "plain": f"{name}=maintainer",
        "as JSON": f"{name}={json.dumps(told)}",
        "unsigned": f"{name}=gAAAAA{'A' * 200}",
        "for another purpose": f"{name}={seal(STATE, '', told)}",
        "of a Space": f"__Host-{name}={seal(PERSON, '', told)}",
        "of the Hub": Accounts(Maintainers(), Link()).cookie(Person("eve", HUB)).partition(";")[0],
    }
    return headers[how]


def test_every_endpoint_is_listed_with_its_role(client: TestClient) -> None:
    blocks = blocks_of(client)
    private = {name: endpoint.role for name, endpoint in endpoints_of(blocks).items()}
    listed = {**dict.fromkeys(VISITORS, "visitor"), **dict.fromkeys(MAINTAINERS, "maintainer")}
    assert private == listed
    assert {str(fn.api_name) for fn in blocks.fns.values()} == listed.keys() | PROGRAMS
    assert set(listed) <= set(ROLES)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_maintainer_s_endpoint_is_reached_without_the_role(client: TestClient, forgery: str) -> None:
    headers = {"cookie": forged(forgery)}
    endpoints = endpoints_of(blocks_of(client))
    for name in MAINTAINERS:
        body = {"data": [{"maintainer": {"name": "eve", "token": ""}, "role": "maintainer"}]}
        answer = client.post(f"/gradio_api/{endpoints[name].way}/{name}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (403, MAINTAINERS_ONLY), name
        stream = client.get(f"/gradio_api/call/{name}/0123456789abcdef", headers=headers)
        assert stream.status_code == 403, name


def test_every_endpoint_is_reached_with_its_role(recorder: TestClient, maintainer: dict[str, str]) -> None:
    endpoints = endpoints_of_door(recorder)
    for name, endpoint in endpoints.items():
        path, body = f"/gradio_api/{endpoint.way}/{name}", {"data": [{"x": 1, "maintainer": "eve"}]}
        if name in MAINTAINERS:
            reached = recorder.post(path, json=body, headers=maintainer).json()["data"]
            assert reached == [{"x": 1, "maintainer": {"name": "anna", "token": ""}}], name
        else:
            for headers in ({}, maintainer):
                assert recorder.post(path, json=body, headers=headers).json() == {"data": [{"x": 1}]}, name


def endpoints_of_door(client: TestClient) -> Any:
    return client.app._endpoints  # type: ignore[attr-defined]


def test_a_maintainer_s_cookie_opens_the_real_page_s_endpoints(
    client: TestClient, maintainer: dict[str, str]
) -> None:
    answer = client.post("/gradio_api/run/rounds", json={"data": [{}]}, headers=maintainer)
    assert answer.status_code == 200 and "rounds" in answer.json()["data"][0]
