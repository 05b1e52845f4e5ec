"""What may leave this machine, in a real browser against a local Hub: asked, shown, sent, taken back."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

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
    assert not {"create", "preupload", "commit"} & set(hub.requests)  # it has read: others' decisions

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
    expect(receipt).to_contain_text("Taken back here")
    chat.page.reload()
    expect(receipt).to_contain_text("Taken back here")
    assert server.end(signal.SIGTERM) == 0
    assert [event["op"] for event in rows(hub)] == [sent["op"], "retract"]

    server.start()
    chat.page.reload()
    expect(receipt).to_have_text(re.compile(r"Taken back here\s*Taken back on the Hub at commit [0-9a-f]{7}"))
    expect(bad).to_have_attribute("aria-pressed", "false")


def test_a_changed_consent_reaches_the_flags_that_were_given_before(
    hub: Hub, new_server: Callable[[], Any], open_chat: Callable[..., Any]
) -> None:
    server = new_server()
    chat = open_chat(server)
    chat.ask("My order number is 4821.")
    answer = chat.ask("Where is my order?")
    flag_this_answer_only(chat, answer)
    expect(receipt_of(answer)).to_contain_text("On the Hub at commit")
    [sent] = rows(hub)
    assert (sent["consent"]["scope"], sent["consent"]["training"]) == ("flag_only", True)
    assert len(sent["shown"]["messages"]) == 1 and sent["shown"]["omitted"] == 2

    said = change_consent(chat, scope="With the conversation so far", training=True, looks=True)
    expect(said).to_contain_text("Sent with the conversation so far, may be used for training.")
    shown = server.backtalk("flags", "show", sent["flag_id"])
    assert "consent    flag+thread" in shown and "shown      3 above the answer, 0 earlier" in shown
    chat.page.keyboard.press("Escape")

    said = change_consent(chat, scope="This answer only", training=False)
    expect(said).to_contain_text("Sent with the question and the answer, not for training.")
    shown = server.backtalk("flags", "show", sent["flag_id"])
    assert "consent    flag_only" in shown and "shown      1 above the answer, 2 earlier" in shown
    assert server.end(signal.SIGTERM) == 0
    last = rows(hub)[-1]
    assert last["flag_id"] == sent["flag_id"] and last["op"] == "amend"
    assert (last["consent"]["scope"], last["consent"]["training"]) == ("flag_only", False)
    assert len(last["shown"]["messages"]) == 1


def test_a_change_that_the_server_did_not_hear_reaches_it_once_it_is_back(
    hub: Hub, new_server: Callable[[], Any], open_chat: Callable[..., Any]
) -> None:
    server = new_server()
    chat = open_chat(server)
    flag_this_answer_only(chat, chat.ask("What can you do?"))
    server.end(signal.SIGKILL)
    said = change_consent(chat, scope="This answer only", training=False)
    expect(said).to_contain_text("not for training")
    expect(chat.page.get_by_role("alert")).to_contain_text("The server is not reached.")
    server.start()
    chat.page.wait_for_function("localStorage.getItem('backtalk.consent-due') === 'false'", timeout=60_000)
    assert server.end(signal.SIGTERM) == 0
    assert not rows(hub)[-1]["consent"]["training"]


def receipt_of(answer: Locator) -> Locator:
    return answer.get_by_label("Where your feedback is").filter(visible=True)


def flag_this_answer_only(chat: Any, answer: Locator) -> None:
    """A vote by somebody who is asked for the first time and lets it be used for training."""
    dialog = chat.page.get_by_role("dialog")
    chat.button(answer, "Bad answer").click()
    dialog.get_by_role("radio", name="This answer only").check()
    dialog.get_by_role("switch", name="It may be used for training").check()
    dialog.get_by_role("button", name="Save my choice").click()
    expect(chat.panel()).to_contain_text("Your choice is saved.")


def change_consent(chat: Any, scope: str, training: bool, looks: bool = False) -> Locator:
    """Changes what may be sent in the settings, and returns the line there that says it now."""
    page = chat.page
    page.get_by_role("button", name="Settings").click()
    settings = page.get_by_role("dialog", name="Settings")
    expect(settings).to_contain_text("A change also holds for the feedback you gave before")
    settings.get_by_role("button", name="Change", exact=True).click()
    dialog = page.get_by_role("dialog", name="May your feedback leave this machine?")
    expect(dialog).to_contain_text("A change also holds for the feedback you gave before")
    dialog.get_by_role("radio", name=scope).check()
    dialog.get_by_role("switch", name="It may be used for training").set_checked(training)
    dialog.get_by_role("button", name="Save my choice").click()
    if looks:
        preview = page.get_by_role("dialog", name="This is what will be stored")
        expect(preview).to_contain_text("My order number is 4821.")
        preview.get_by_role("button", name="Save this").click()
    expect(settings.get_by_role("button", name="Change", exact=True)).to_be_focused()
    return settings.get_by_text("not for training." if not training else "may be used for training.")
