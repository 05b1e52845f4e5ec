"""What the page's server lets in, and what goes out."""

from collections.abc import Callable
from typing import Any

import pytest

from app.desk.answering import Desk
from backtalk import __file__ as package


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", f"/gradio_api/file={package}"),
        ("GET", "/gradio_api/proxy=https://example.org"),
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/cancel"),
        ("POST", "/gradio_api/reset"),
        ("GET", "/monitoring"),
        ("GET", "/metrics"),
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/docs"),
        ("GET", "/page/%2e%2e/page.py"),
        ("DELETE", "/"),
    ],
)
def test_what_the_page_does_not_use_is_closed(client: Any, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["error"] == "There is nothing at this address. The page is at /."


def test_the_page_may_load_from_its_own_host_only(client: Any) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_file_that_the_page_wants_early_is_there(client: Any) -> None:
    wanted = [part[1 : part.index(">")] for part in client.get("/").headers["link"].split(", ")]
    assert any(name.endswith("main.js") for name in wanted)
    for name in wanted:
        answer = client.get(f"/{name}")
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("run/enter", b"{", "not JSON"),
        ("run/enter", b"[" * 100_000, "not JSON"),
        ("run/enter", b"\xff\xfe", "not JSON"),
        ("run/enter", b'{"data": [{"a": ' + b"[" * 500 + b"]" * 500 + b"}]}", "levels deep"),
        ("run/enter", b"[]", "a list with one object"),
        ("run/enter", b'{"data": []}', "a list with one object"),
        ("run/enter", b'{"data": [1]}', "a list with one object"),
        ("run/enter", b'{"data": [{}, {}]}', "a list with one object"),
        ("run/nothing", b'{"data": [{}]}', "no endpoint 'nothing'"),
        ("run/ask", b'{"data": [{}]}', "asked at /gradio_api/call/ask"),
        ("call/save", b'{"data": [{}]}', "asked at /gradio_api/run/save"),
    ],
)
def test_a_request_that_cannot_be_right_gets_one_sentence(
    client: Any, path: str, body: bytes, said: str
) -> None:
    answer = client.post(f"/gradio_api/{path}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert said in answer.json()["error"] and answer.json()["name"] == "out_of_step"


@pytest.mark.parametrize(
    ("name", "request_of_it"),
    [
        ("receipts", {"answers": ["\ud800"]}),
        ("mine", {"known": ["\udfff"]}),
        ("withdraw", {"flag": "\ud800"}),
        ("amend", {"flag": "\ud800", "choice": {"verdict": "bad"}}),
        ("open", {"conversation": "\ud800", "messages": []}),
    ],
)
def test_half_a_character_ends_no_endpoint(visitor: Any, name: str, request_of_it: dict[str, Any]) -> None:
    answer = visitor.run(name, visitor=visitor.token, **request_of_it)
    assert answer.get("error", "").endswith(".") or "error" not in answer


def test_a_form_of_another_site_is_refused(client: Any) -> None:
    answer = client.post(
        "/gradio_api/run/enter", content=b'{"data": [{}]}', headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 422
    assert "application/json" in answer.json()["error"]


def test_what_gradio_would_understand_beside_the_data_is_left_outside(client: Any) -> None:
    body = {"data": [{}], "fn_index": 999, "session_hash": 5, "event_id": []}
    assert client.post("/gradio_api/run/enter", json=body).status_code == 200


@pytest.mark.parametrize(
    "path", ["call/ask/0123456789abcdef", f"queue/data?session_hash={'0' * 40}", f"call/ask/{'a' * 4_000}"]
)
def test_a_stream_that_is_not_there_is_refused_and_fills_no_log(client: Any, capfd: Any, path: str) -> None:
    assert "404" in client.get(f"/gradio_api/{path}").text
    assert capfd.readouterr().err == ""


def test_a_request_without_end_is_refused(client: Any) -> None:
    answer = client.post("/gradio_api/run/enter", content=b"x" * (32 * 2**20 + 1))
    assert answer.status_code == 413


def test_health_is_answered_at_once(client: Any) -> None:
    assert client.get("/health").json() == {"status": "ok"}


def test_what_the_settings_ask_for_is_open_beside_the_page(
    open_page: Callable[..., Any], scripted_desk: Desk
) -> None:
    client = open_page(scripted_desk, key="0123456789abcdef", metrics=True)
    shown = {"Authorization": "Bearer 0123456789abcdef"}
    metrics = client.get("/metrics", headers=shown)
    assert "backtalk_queued 3" in metrics.text and metrics.headers["x-content-type-options"] == "nosniff"
    asked = {"messages": [{"role": "user", "content": "Where is it?"}]}
    answer = client.post("/v1/chat/completions", json=asked, headers=shown).json()
    assert answer["choices"][0]["message"]["content"].startswith("It is **on its way**")
    assert client.post("/v1/chat/completions", json=asked).status_code == 401
    assert client.get("/").status_code == 200
