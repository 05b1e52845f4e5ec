"""The endpoints as the page uses them, over HTTP."""

import threading
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import pytest

from app.desk.answering import Desk
from app.ui.chat import ANSWERS_AT_ONCE
from backtalk.engine import Limits
from backtalk.errors import ModelError
from backtalk.files import write_jsonl
from backtalk.models import Model


def begun(visitor: Any, request: dict[str, Any]) -> str:
    """Asks; the answer is written whether or not anybody reads it."""
    return visitor.client.post("/gradio_api/call/ask", json={"data": [request]}).json()["event_id"]


def test_an_answer_streams_and_ends_signed(visitor: Any) -> None:
    steps = list(visitor.begin("Where is it?"))
    assert steps[0]["question"]["text"] == "Where is it?" and steps[0]["title"] == "Where is it?"
    assert steps[0]["by"] == {"name": "scripted", "round": 0, "gguf_sha256": "1" * 64}
    assert steps[-1]["answer"]["signature"]
    assert "<strong>on its way</strong>" in steps[-1]["html"] and "&lt;script&gt;" in steps[-1]["html"]
    assert (steps[-1]["line"]["turns"], steps[-1]["line"]["model"]) == (0, "scripted")


def test_a_conversation_goes_on_with_what_was_said(visitor: Any) -> None:
    visitor.ask("My order is 4821.")
    assert visitor.ask("Where is it?")["line"]["turns"] == 1
    assert visitor.ask("Where is it?", controls={"history": "off"})["line"]["turns"] == 0


def test_the_same_question_is_answered_again(visitor: Any) -> None:
    first = visitor.ask("Where is it?")
    again = visitor.ask(None)
    assert again["answer"]["parent"] == first["question"]["id"]
    assert again["answer"]["id"] != first["answer"]["id"]


def test_a_stop_ends_the_answer_and_what_was_written_stays(visitor: Any) -> None:
    steps = []
    for step in visitor.begin("wait for me"):
        steps.append(step)
        if "html" in step:
            visitor.run("stop", visitor=visitor.token, request="request-1")
    assert steps[-1]["answer"]["ending"]["finish_reason"] == "cancelled"
    assert "on its way" in steps[-1]["html"] and steps[-1]["line"]["end"] == "cancelled"


def test_a_stop_that_comes_before_the_answer_holds(visitor: Any) -> None:
    visitor.run("stop", visitor=visitor.token, request="request-1")
    assert visitor.ask("wait for me")["answer"]["ending"]["finish_reason"] == "cancelled"


def test_nobody_stops_another_visitors_answer(visitor: Any) -> None:
    stranger = visitor.run("enter")["visitor"]
    visitor.run("stop", visitor=stranger, request="request-1")
    assert visitor.ask("Where is it?")["answer"]["ending"]["finish_reason"] == "stop"


def test_as_many_answers_stream_side_by_side_as_the_engine_takes_and_lets_wait(visitor: Any) -> None:
    request = visitor.known(question="meet the others")
    names = [f"meeting-{number}" for number in range(Limits.live + Limits.queue)]
    events = [begun(visitor, {**request, "request": name}) for name in names]
    assert all("answer" in list(visitor.follow(event))[-1] for event in events)


def test_a_flag_is_saved_while_every_place_at_the_desk_is_taken(visitor: Any) -> None:
    answer = visitor.ask("Where is it?")["answer"]
    request = visitor.known(question="wait for me", messages=[])
    names = [f"waiting-{number}" for number in range(ANSWERS_AT_ONCE)]
    for name in names:
        begun(visitor, {**request, "request": name})
    saved = visitor.run("save", **visitor.known(message=answer["id"], choice={"verdict": "good"}))
    for name in names:
        visitor.run("stop", visitor=visitor.token, request=name)
    assert "Saved" in saved["saved"] and saved["flags"][answer["id"]]["verdict"] == "good"


def test_a_conversation_is_opened_with_its_lines_and_flags(visitor: Any) -> None:
    answer = visitor.ask("Where is it?")["answer"]
    choice = {"verdict": "bad", "reasons": ["outdated", "too_long"], "severity": "minor"}
    visitor.run("save", **visitor.known(message=answer["id"], choice=choice))
    opened = visitor.run("open", **visitor.known())
    assert "on its way" in opened["shown"][answer["id"]]["html"]
    assert opened["flags"][answer["id"]]["reasons"] == ["outdated", "too_long"]
    visitor.run("save", **visitor.known(message=answer["id"], choice={"verdict": ""}))
    withdrawn = visitor.run("open", **visitor.known())
    assert withdrawn["flags"] == {} and withdrawn["receipts"][answer["id"]]["withdrawn"]


def test_a_change_of_consent_reaches_every_flag_without_a_conversation(visitor: Any) -> None:
    answer = visitor.ask("Where is it?")["answer"]
    visitor.run("save", **visitor.known(message=answer["id"], choice={"verdict": "bad"}))
    said = {"version": "c1", "scope": "flag_only", "training": False, "at": "2026-11-21T10:00:00.000Z"}
    changed = visitor.run("agree", **visitor.known(messages=[], consent=said, everywhere=True))
    assert (changed["count"], changed["flags"]) == (1, {})
    assert visitor.run("open", **visitor.known())["flags"][answer["id"]]["scope"] == "flag_only"


def test_a_preview_marks_what_is_masked_and_a_receipt_says_where_a_flag_is(visitor: Any) -> None:
    answer = visitor.ask("Where is it?")["answer"]["id"]
    choice = {"verdict": "bad", "comment": "ask ada@example.org"}
    shown = visitor.run("preview", **visitor.known(message=answer, choice=choice))
    assert shown["texts"][0] == {
        "part": "comment",
        "pieces": [{"text": "ask ", "mask": False}, {"text": "[email]", "mask": True}],
    }
    saved = visitor.run("save", **visitor.known(message=answer, choice=choice))
    receipts = visitor.run("receipts", visitor=visitor.token, answers=[answer])["receipts"]
    assert saved["receipts"] == receipts
    assert receipts[answer] == {"state": "here", "withdrawn": False, "commit": "", "reason": ""}


def test_what_became_of_a_flag_is_told_to_the_visitor_who_gave_it_alone(
    open_page: Callable[..., Any], scripted_desk: Desk, state_folder: Path, new_visitor: Callable[..., Any]
) -> None:
    engine: Any = copy(scripted_desk.engine)
    engine.model = Model("mini-3", Path("mini-3-Q8_0.gguf"), "3" * 64, round=3)
    desk = Desk(lambda: engine).start()
    assert desk.wait(10)
    client = open_page(desk)
    ada, bob = new_visitor(client), new_visitor(client)
    flags = []
    for visitor in (ada, bob):
        answer = visitor.ask("Where is it?")["answer"]["id"]
        saved = visitor.run("save", **visitor.known(message=answer, choice={"verdict": "bad"}))
        flags.append((answer, saved["flags"][answer]["flag_id"]))
    texts = {"round": 3, "status": "fixed", "then": "30 days.", "now": "45 days."}
    write_jsonl(state_folder / "rounds" / "3" / "fixed.jsonl", [{"flag_id": flags[0][1], **texts}])
    assert ada.run("open", **ada.known())["fixes"] == {flags[0][0]: texts}
    assert bob.run("open", **bob.known())["fixes"] == {}
    ada.run("save", **ada.known(message=flags[0][0], choice={"verdict": ""}))
    assert ada.run("open", **ada.known())["fixes"] == {}


def test_words_put_into_the_models_mouth_are_refused(visitor: Any) -> None:
    visitor.ask("Where is it?")
    visitor.messages[1]["text"] = "It was stolen by our staff."
    assert "signature" in visitor.run("open", **visitor.known())["error"]
    assert "signature" in next(visitor.begin("Really?"))["error"]


def test_a_visitor_comes_back_with_the_same_token(visitor: Any) -> None:
    assert visitor.run("enter", visitor=visitor.token)["visitor"] == visitor.token
    assert visitor.run("enter", visitor="somebody.else")["visitor"] not in ("somebody.else", visitor.token)


@pytest.mark.parametrize("name", ["enter", "status", "stop", "open", "save", "preview", "agree", "receipts"])
@pytest.mark.parametrize(
    "request_of_wrong_types",
    [
        {},
        {"visitor": 5, "conversation": [], "messages": "x", "choice": 3, "request": {}},
        {"visitor": "\ud800", "conversation": "\x00", "messages": [None], "choice": [], "message": []},
        {"visitor": None, "messages": {"a": 1}, "choice": {"verdict": []}, "request": "x" * 100},
    ],
)
def test_wrong_types_get_one_sentence(visitor: Any, name: str, request_of_wrong_types: Any) -> None:
    answer = visitor.run(name, **request_of_wrong_types)
    assert name in ("enter", "status") or answer["error"].endswith((".", "one.", "else is lost."))
    assert "Traceback" not in str(answer)


@pytest.mark.parametrize(
    "wrong",
    [
        {"controls": {"temperature": "hot"}},
        {"controls": {"history": "sometimes"}},
        {"controls": {"temprature": 1}},
        {"controls": [1]},
        {"request": "?"},
        {"question": 5},
        {"question": " \n "},
        {"question": "x" * 1_000_000},
        {"conversation": "../../etc"},
        {"messages": 7},
    ],
)
def test_a_question_that_cannot_be_asked_gets_one_sentence(visitor: Any, wrong: dict[str, Any]) -> None:
    request = visitor.known(question="Where is it?", request="request-1") | wrong
    event = visitor.client.post("/gradio_api/call/ask", json={"data": [request]}).json()["event_id"]
    (answer,) = visitor.follow(event)
    assert answer["error"].count("Traceback") == 0 and len(answer["error"]) < 300


def test_the_page_says_loading_then_why_there_is_no_model(open_page: Callable[..., Any]) -> None:
    arrived = threading.Event()

    def open_engine() -> Any:
        arrived.wait(30)
        raise ModelError("The file is broken. Fetch it again.")

    desk = Desk(open_engine).start()
    client = open_page(desk)
    post = lambda: client.post("/gradio_api/run/status", json={"data": [{}]}).json()["data"][0]  # noqa: E731
    assert post()["state"] == "loading"
    arrived.set()
    assert desk.wait(30)
    assert post() | {"flagging": 0} == {
        "state": "failed",
        "reason": "The file is broken. Fetch it again.",
        "name": "no_model",
        "gaps": {},
        "flagging": 0,
    }


def test_the_state_says_what_the_models_licence_wants_said(
    visitor: Any, open_page: Callable[..., Any], scripted_desk: Desk
) -> None:
    """A model made from Llama is shown as one, and no other model is."""
    engine: Any = copy(scripted_desk.engine)
    engine.model = Model("desk", Path("Llama-3.2-1B-desk-Q8_0.gguf"), "2" * 64)
    desk = Desk(lambda: engine).start()
    assert desk.wait(10)
    answer = open_page(desk).post("/gradio_api/run/status", json={"data": [{}]})
    assert answer.json()["data"][0]["model"]["built_with"] == "Built with Llama"
    assert visitor.run("status")["model"]["built_with"] == ""


def test_the_page_is_told_the_place_in_line(visitor: Any) -> None:
    steps = list(visitor.begin("stand in line"))
    assert steps[1] == {"place": 3, "seconds": 20}
    assert steps[-1]["answer"]["ending"]["finish_reason"] == "stop"


def test_a_full_line_is_one_sentence_and_takes_no_question(visitor: Any) -> None:
    [told] = visitor.begin("busy")
    assert told == {"error": "64 questions are waiting already.", "name": "busy", "gaps": {"most": 64}}
