"""What programs reach with gradio_client, through the door of a real server; and what they do not.

Command: pytest tests/app/ui/test_public.py
Promise: three public functions work, typed and described, and no other is within a program's reach.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from gradio_client import Client
from gradio_client.exceptions import AppError

from app.desk.answering import Desk
from app.flags.consent import version
from app.flags.flagging import Flagging
from app.flags.insights import Board
from app.settings import Settings
from app.ui.chat import Chat
from app.ui.page import serve_page
from app.ui.programs import LARGEST_REQUEST
from app.ui.public import A_MINUTE, PROGRAMS_AT_ONCE, Public

SESSION = "0" * 32
SAID = "It is **on its way**."


@pytest.fixture(scope="module")
def public(scripted_desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Public]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKTALK_HOME", str(tmp_path_factory.mktemp("programs")))
        flagging = Flagging.at_home()
        yield Public(scripted_desk, flagging, Board(served=lambda: 0))
        flagging.close()


@pytest.fixture(scope="module")
def address(public: Public, scripted_desk: Desk) -> Iterator[str]:
    app = serve_page([Chat(scripted_desk, public._flagging), public], Settings())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        client = Client(address, verbose=False, analytics_enabled=False)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def unhurried(public: Public, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test pays for what another one asked."""
    monkeypatch.setattr(public, "_pace", type(public._pace)(A_MINUTE))


def test_a_program_finds_three_functions_with_types_and_descriptions(client: Client) -> None:
    found = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert found.keys() == {"/chat", "/flag", "/stats"}
    takes = {one["parameter_name"]: one["type"] for one in found["/chat"]["parameters"]}
    assert takes["message"] == {"type": "string"} and takes["temperature"] == {"type": "number"}
    optional = {one["parameter_name"] for one in found["/flag"]["parameters"] if one["parameter_has_default"]}
    assert {"reasons", "correction", "consent"} <= optional and "verdict" not in optional
    assert all(len(one["description"]) > 100 for one in found.values())
    assert version() in found["/flag"]["description"]


def test_a_program_asks_and_goes_on_in_the_same_conversation(client: Client) -> None:
    first = client.predict("Where is it?", api_name="/chat")
    assert first["done"] and first["answer"].startswith(SAID) and first["model"]["name"] == "scripted"
    second = client.predict("And when?", conversation=first["conversation"], api_name="/chat")
    asked = [one["text"] for one in second["conversation"]["messages"] if one["role"] == "user"]
    assert asked == ["Where is it?", "And when?"]
    assert second["conversation"]["visitor"] == first["conversation"]["visitor"]


def test_an_answer_streams(client: Client) -> None:
    job = client.submit("Where is it?", api_name="/chat")
    steps = list(job)
    assert steps[-1]["done"] and not steps[0]["done"]
    assert steps[-1]["answer"].startswith(steps[0]["answer"])


def test_a_flag_names_an_answer_and_can_be_taken_back(client: Client, public: Public) -> None:
    said = client.predict("Where is it?", api_name="/chat")
    kept = client.predict(
        said["conversation"], "bad", reasons=["outdated"], correction="Tomorrow.", api_name="/flag"
    )
    assert kept["saved"] == "Saved on this machine." and kept["receipt"]["state"] == "here"
    assert kept["flag"]["reasons"] == ["outdated"] and kept["flag"]["correction"] == "Tomorrow."
    assert kept["flag"]["scope"] == ""  # nothing was agreed to
    standing = public._flagging.numbers()["standing"]
    gone = client.predict(said["conversation"], "", api_name="/flag")
    assert gone["saved"] == "Withdrawn." and gone["flag"] is None
    assert public._flagging.numbers()["standing"] == standing - 1


def test_only_the_text_of_today_is_consent(client: Client) -> None:
    talk = client.predict("Where is it?", api_name="/chat")["conversation"]
    with pytest.raises(AppError, match="names the text 'c0'"):
        client.predict(talk, "good", consent="flag_only", consent_version="c0", api_name="/flag")
    kept = client.predict(
        talk, "good", consent="flag_only", consent_version=version(), training=True, api_name="/flag"
    )
    assert kept["flag"]["scope"] == "flag_only" and kept["flag"]["training"]


def test_nobody_puts_words_into_the_models_mouth(client: Client) -> None:
    talk = client.predict("Where is it?", api_name="/chat")["conversation"]
    talk["messages"][1]["text"] = "It was stolen."
    for name, more in (("/chat", {"message": "Really?"}), ("/flag", {"verdict": "bad"})):
        with pytest.raises(AppError, match="signature"):
            client.predict(conversation=talk, api_name=name, **more)


def test_nobody_reaches_the_conversation_of_another_visitor(client: Client) -> None:
    mine = client.predict("Where is it?", api_name="/chat")["conversation"]
    other = client.predict("Where is mine?", api_name="/chat")["conversation"]
    with pytest.raises(AppError, match="signature"):
        client.predict({**mine, "visitor": other["visitor"]}, "bad", api_name="/flag")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"message": ""}, "empty"),
        ({"message": ["a"]}, "text was wanted"),
        ({"message": "a", "temperature": 9}, "Temperature is 9"),
        ({"message": "a", "conversation": {"id": "x"}}, "not one that"),
        ({"message": "a", "history": "half"}, "History is"),
    ],
)
def test_a_fault_is_raised_at_the_client_in_one_sentence(
    client: Client, words: dict[str, Any], said: str
) -> None:
    with pytest.raises(AppError, match=said):
        client.predict(api_name="/chat", **words)


def test_who_is_too_many_hears_so_and_the_page_goes_on(client: Client, public: Public) -> None:
    for _ in range(PROGRAMS_AT_ONCE):
        public._seats.acquire()
    try:
        with pytest.raises(AppError, match="Ask again in a moment"):
            client.predict("Where is it?", api_name="/chat")
        assert client.predict(api_name="/stats")["fewest"] == 10
    finally:
        for _ in range(PROGRAMS_AT_ONCE):
            public._seats.release()
    assert client.predict("Where is it?", api_name="/chat")["done"]


def test_one_address_asks_no_more_than_so_often(client: Client, public: Public) -> None:
    public._pace._most = 1
    client.predict(api_name="/stats")
    with pytest.raises(AppError, match="from your address"):
        client.predict(api_name="/stats")


def numbers(address: str) -> dict[str, int]:
    config = httpx.get(f"{address}config").json()
    return {one["api_name"]: one["id"] for one in config["dependencies"]}


def join(address: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{address}gradio_api/queue/join", json=body, timeout=30)


def test_the_pages_own_endpoints_stay_out_of_reach(address: str) -> None:
    known = numbers(address)
    closed = set(known) - {"chat", "flag", "stats"}
    assert closed
    for name in closed:
        answer = join(address, data=[{}], fn_index=known[name], session_hash=SESSION)
        assert answer.status_code == 422 and "Known are /chat, /flag, /stats" in answer.json()["error"]
    shown = httpx.get(f"{address}gradio_api/info?all_endpoints=True").json()["named_endpoints"]
    assert shown.keys() == {"/chat", "/flag", "/stats"}


def test_a_join_that_cannot_be_right_gets_one_sentence(address: str) -> None:
    stats = numbers(address)["stats"]
    for body in (
        {"data": [], "fn_index": 10_000, "session_hash": SESSION},
        {"data": [], "fn_index": True, "session_hash": SESSION},
        {"data": [1], "fn_index": stats, "session_hash": SESSION},
        {"data": {}, "fn_index": stats, "session_hash": SESSION},
        {"data": [], "fn_index": stats, "session_hash": "short"},
        {"data": [], "fn_index": stats},
    ):
        answer = join(address, **body)
        assert answer.status_code == 422 and answer.json()["error"].endswith("."), body
    large = httpx.post(
        f"{address}gradio_api/queue/join", json={"data": ["x" * (LARGEST_REQUEST + 1)]}, timeout=30
    )
    assert large.status_code == 413
    assert httpx.get(f"{address}gradio_api/queue/data?session_hash=a%0Ab").status_code == 422
