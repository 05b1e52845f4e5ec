"""What the page starts with."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.desk.transcript import new_visitor
from app.settings import Settings
from app.ui import page
from app.ui.views import ORDER
from app.ui.words import languages, read_words
from feedback.taxonomy import taxonomy


def test_the_panel_offers_every_reason_that_is_in_use() -> None:
    choices = page.panel_choices(taxonomy())
    offered = {
        one["id"] for verdict in ("good", "bad") for group in choices[verdict] for one in group["reasons"]
    }
    assert offered == {reason.id for reason in taxonomy().reasons if not reason.archived}


def test_no_text_can_end_the_element_that_holds_the_data(monkeypatch: Any) -> None:
    monkeypatch.setattr(page, "languages", lambda: {"en": "</script><script>alert(1)"})
    assert "</script><script>alert(1)" not in page.head([], Settings())


def test_the_first_history_is_the_one_of_the_settings() -> None:
    assert page.start_data([], Settings(history="off"))["defaults"]["history"] == "off"


def test_a_tab_is_shown_for_each_view_and_for_nothing_else() -> None:
    assert page.start_data(["mine", "public", "chat"], Settings())["views"] == ["chat", "mine"]
    shell = (page.FOLDER / "shell.html").read_text()
    assert re.findall(r'data-view="(\w+)"', shell) == re.findall(r'id="view-(\w+)"', shell) == list(ORDER)


def test_what_another_tab_needs_does_not_come_early() -> None:
    soon = page.soon_needed()
    assert {"main.js", "dom.js", "views.js", "page.css"} <= set(soon)
    assert not {f"{view}.{kind}" for view in ORDER[1:] for kind in ("js", "css")} & set(soon)


def test_every_language_s_words_are_served(client: Any) -> None:
    folder = page.files_at(Settings())
    for language in languages():
        answer = client.get(f"/{folder}/{language}.json")
        assert answer.json() == json.loads(json.dumps(read_words(language)))
        assert "immutable" in answer.headers["cache-control"]


def test_nothing_in_our_files_names_another_host() -> None:
    for path in [*page.WEB.iterdir(), page.FOLDER / "shell.html"]:
        hosts = set(re.findall(r"https?://[\w.]+", path.read_text()))
        assert hosts <= {"http://www.w3.org"}, path


def test_gradio_keeps_little_of_the_answers_that_are_over(open_page: Any, scripted_desk: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "SESSIONS", 2)
        patch.setattr(page, "STREAMS", 3)
        client = open_page(scripted_desk)
    blocks = next(
        b for route in client.app.routes if (b := getattr(getattr(route, "app", None), "blocks", 0))
    )
    for number in range(5):
        request = {"request": f"request-{number}", "conversation": "conversation1", "messages": []}
        asked = {**request, "visitor": new_visitor(), "question": "Where is it?"}
        event = client.post("/gradio_api/call/ask", json={"data": [asked]}).json()["event_id"]
        assert "answer" in client.get(f"/gradio_api/call/ask/{event}").text
    queue = blocks._queue
    assert len(blocks.state_holder.session_data) <= 2 and len(queue.pending_event_ids_session) <= 3
    assert len(queue.event_analytics) <= 1 and not queue.cached_event_analytics_summary["functions"]


def test_files_are_read_anew_while_developing(open_page: Any, scripted_desk: Any) -> None:
    client = open_page(scripted_desk, dev=True)
    assert client.get("/page/dev/main.js").headers["cache-control"] == "no-store"
    assert Path(page.WEB, "main.js").read_text() == client.get("/page/dev/main.js").text
