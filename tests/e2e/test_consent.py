"""What may leave this machine, in a real browser against a local Hub: asked, shown, sent, taken back."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.hub.server import Hub

DATASET = "somebody/flags"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub of the test's own; servers that are started from now on send to it."""
    with Hub(tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_TOKEN", "hf_write")
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("BACKTALK_FLAGS_DATASET", DATASET)
        yield hub


def rows(hub: Hub) -> list[dict[str, Any]]:
    """The events in the dataset, oldest first."""
    repo = hub.store.repo("dataset", DATASET)
    head = repo.commit("main")
    data = sorted(name for name in head.tree if name.startswith("data/"))
    events = [json.loads(line) for name in data for line in repo.read(head, name).splitlines()]
    return sorted(events, key=lambda event: event["revision"])


def test_a_flag_goes_to_the_hub_as_its_visitor_agreed_and_is_taken_back(
    hub: Hub, new_server: Callable[[], Any], open_chat: Callable[..., Any]
) -> None:
    server = new_server()
    chat = open_chat(server)
    chat.ask("My order number is 4821.")
    answer = chat.ask("Where is my order?")
    dialog, panel = chat.page.get_by_role("dialog"), chat.panel()
    bad = chat.button(answer, "Bad answer")
    receipt = answer.get_by_label("Where your feedback is").filter(visible=True)

    bad.click()
    expect(dialog).to_contain_text("May your feedback leave this machine?")
    chat.page.keyboard.press("Escape")
    expect(bad).to_be_focused()
    expect(panel).to_contain_text("Your vote is saved.")
    expect(panel).to_contain_text("Until then, nothing leaves this machine.")
    expect(receipt).to_have_text("Saved here")
    assert hub.requests == []

    panel.get_by_role("textbox", name="Comment").fill("Write to ada@example.org")
    panel.get_by_role("button", name="Save").click()
    dialog.get_by_role("radio", name="With the conversation so far").check()
    dialog.get_by_role("switch", name="It may be used for training").check()
    dialog.get_by_role("button", name="Save my choice").click()
    expect(dialog).to_contain_text("This is what will be stored")
    expect(dialog.get_by_role("mark")).to_have_text("[email]")
    expect(dialog).to_contain_text("My order number is 4821.")
    dialog.get_by_role("button", name="Save this").click()
    expect(receipt).to_have_text(re.compile(r"Saved here\s*On the Hub at commit [0-9a-f]{7}"))
    [sent] = rows(hub)
    assert sent["comment"] == "Write to [email]" and sent["preview_shown"]
    assert sent["consent"]["scope"] == "flag+thread" and sent["consent"]["training"]

    bad.click()
    expect(dialog).to_contain_text(
        re.compile(r"stays in the older files of the dataset \(commit [0-9a-f]{7}\)")
    )
    dialog.get_by_role("button", name="All right").click()
    expect(panel).to_have_count(0)
    expect(receipt).to_contain_text("Taken back")
    assert server.end(signal.SIGTERM) == 0
    assert [event["op"] for event in rows(hub)] == [sent["op"], "retract"]
