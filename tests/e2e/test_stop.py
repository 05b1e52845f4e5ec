"""Stopping an answer, on a model that takes its time: random weights, which never find an end."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect


def test_a_stopped_answer_stays_and_the_conversation_goes_on(
    slow_server: Any, open_chat: Callable[..., Any]
) -> None:
    chat = open_chat(slow_server)
    chat.set("Maximum length", 1024)
    chat.begin("Tell me everything.")
    expect(chat.page.locator(".pending .text")).to_contain_text(" ")
    chat.stop.click()
    expect(chat.sent_line(chat.answers.last)).to_contain_text("stopped")
    assert len(chat.answers.last.locator(".text").inner_text()) > 0

    chat.begin("And now?")
    expect(chat.stop).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(chat.sent_line(chat.answers.last)).to_contain_text("stopped")
    expect(chat.sent_line(chat.answers.last)).to_contain_text("1 earlier turn")
