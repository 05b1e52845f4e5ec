"""The page on a phone, in the dark and by day: nothing overflows, targets are large, text can be read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SMALLEST_TAP = 44  # CSS pixels
READABLE = 4.5  # contrast of text, WCAG 2.2 AA

HERE = Path(__file__).parent
SMALL_TARGETS = (HERE / "small_targets.js").read_text(encoding="utf-8")
FAINT_TEXT = (HERE / "faint_text.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("window", [PHONE, {}], ids=["phone", "desktop"])
def test_every_text_can_be_read(
    server: Any, open_chat: Callable[..., Any], window: dict[str, Any], colours: str
) -> None:
    chat = open_chat(server, color_scheme=colours, **window)
    assert chat.page.evaluate(FAINT_TEXT, READABLE) == []
    chat.button(chat.ask("What can you do?"), "Bad answer").click()
    expect(chat.panel()).to_contain_text("Your vote is saved.")
    chat.panel().get_by_role("checkbox", name="Out of date").check()
    chat.panel().get_by_text("More reasons").click()
    assert chat.page.evaluate(FAINT_TEXT, READABLE) == []


def test_a_phone_shows_everything_within_its_width_and_reach(
    server: Any, open_chat: Callable[..., Any]
) -> None:
    chat = open_chat(server, **PHONE)
    page = chat.page
    assert page.evaluate(SMALL_TARGETS, SMALLEST_TAP) == []
    chat.button(chat.ask("Do you ship to France, and what does it cost?"), "Bad answer").click()
    expect(chat.panel()).to_contain_text("Your vote is saved.")
    assert page.evaluate(SMALL_TARGETS, SMALLEST_TAP) == []
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["viewport"]["width"]
    assert page.evaluate("document.getElementById('scroll').scrollWidth") <= PHONE["viewport"]["width"]


def test_a_phone_s_sidebar_opens_over_the_chat_and_closes(server: Any, open_chat: Callable[..., Any]) -> None:
    chat = open_chat(server, **PHONE)
    chat.ask("What can you do?")
    side = chat.page.get_by_role("navigation", name="Conversations")
    expect(side).to_be_hidden()
    chat.page.get_by_role("button", name="Show conversations").click()
    side.get_by_role("button", name="New conversation").click()
    expect(side).to_be_hidden()
    expect(chat.page.get_by_role("heading", name="How can I help?")).to_be_visible()


def test_the_chosen_colours_stay(chat: Any) -> None:
    chat.page.get_by_role("radio", name="Dark").check()
    chat.page.reload()
    chat.wait()
    ground = chat.page.evaluate("getComputedStyle(document.getElementById('backtalk')).backgroundColor")
    assert ground == "rgb(23, 22, 20)"
