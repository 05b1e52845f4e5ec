"""The page with the keyboard alone: everything is reached, and the focus is never lost."""

from typing import Any

from playwright.sync_api import Page, expect

FAR = 40  # presses of Tab within which everything on the page is reached


def focused(page: Page) -> str:
    """What a screen reader would say of the element in focus."""
    return page.evaluate(
        "(document.activeElement.ariaLabel || document.activeElement.labels?.[0]?.innerText"
        " || document.activeElement.innerText || document.activeElement.tagName).trim()"
    )


def tab_to(page: Page, name: str, key: str = "Tab") -> None:
    for _ in range(FAR):
        page.keyboard.press(key)
        if focused(page).startswith(name):
            return
    raise AssertionError(f"{name!r} is not reached with {key}; the focus is on {focused(page)!r}")


def test_ask_flag_and_go_on_without_a_mouse(chat: Any) -> None:
    page = chat.page
    expect(chat.box).to_be_focused()
    page.keyboard.type("What can you do?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Tell me briefly.")
    expect(chat.box).to_have_value("What can you do?\nTell me briefly.")
    page.keyboard.press("Enter")
    expect(chat.sent_line(chat.answers.last)).to_be_visible()
    expect(chat.box).to_be_focused()

    tab_to(page, "Bad answer", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(chat.panel()).to_contain_text("Your vote is saved.")
    assert focused(page) == "Bad answer"
    tab_to(page, "Out of date")
    page.keyboard.press("Space")
    tab_to(page, "Save")
    page.keyboard.press("Enter")
    expect(chat.panel()).to_contain_text("Saved on this machine")
    page.keyboard.press("Escape")
    expect(chat.panel()).to_have_count(0)
    assert focused(page) == "Give feedback on this answer"

    tab_to(page, "Full")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Last 3")).to_be_checked()


def test_the_settings_sheet_keeps_the_focus_and_gives_it_back(chat: Any) -> None:
    page = chat.page
    tab_to(page, "Settings")
    page.keyboard.press("Enter")
    sheet = page.get_by_role("dialog", name="Settings")
    expect(sheet).to_be_visible()
    tab_to(page, "Temperature")
    page.keyboard.press("Home")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    assert focused(page) == "Settings"
    assert page.evaluate("JSON.parse(localStorage.getItem('backtalk.controls')).temperature") == 0


def test_an_edit_can_be_given_up_without_losing_the_place(chat: Any) -> None:
    chat.ask("What can you do?")
    tab_to(chat.page, "Edit this question", "Shift+Tab")
    chat.page.keyboard.press("Enter")
    chat.page.keyboard.type(" Please.")
    chat.page.keyboard.press("Escape")
    expect(chat.questions.last).to_contain_text("What can you do?")
    assert focused(chat.page) == "Edit this question"
