"""The tabs, the account and the language, as somebody in a browser meets them.

Command: pytest tests/e2e/test_tabs.py
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from feedback.store.outbox import NAME


def test_tabs_change_what_is_shown_with_the_keyboard_and_keep_the_conversation(chat: Any) -> None:
    page = chat.page
    chat.ask("What can you do?")
    conversation = page.url
    tabs = page.get_by_role("navigation", name="Tabs")
    tabs.get_by_role("link", name="Insights").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/insights$"))
    expect(page).to_have_title("Insights · Backtalk")
    expect(page.get_by_role("main", name="Insights")).to_be_visible()
    expect(chat.box).to_be_hidden()
    expect(tabs.get_by_role("link", name="Insights")).to_have_attribute("aria-current", "page")

    tabs.get_by_role("link", name="Chat").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(conversation)
    expect(chat.answers).to_have_count(1)
    page.go_back()
    expect(page.get_by_role("main", name="Insights")).to_be_visible()
    page.reload()
    expect(page.get_by_role("main", name="Insights")).to_be_visible()


def test_the_link_of_the_terminal_makes_a_maintainer_until_they_sign_out(
    server: Any, open_chat: Callable[..., Any]
) -> None:
    chat = open_chat(server)
    page, tabs = chat.page, chat.page.get_by_role("navigation", name="Tabs")
    expect(tabs.get_by_role("link", name="Maintain")).to_be_hidden()
    link = server.maintainer_link()
    page.goto(link)
    expect(page).to_have_url(re.compile("#/maintain$"))
    expect(page.get_by_role("main", name="Maintain")).to_be_visible()
    assert page.evaluate("document.cookie") == ""
    assert server.maintainer_link() != link

    page.goto(link)
    chat.toast("This sign-in link was used before")
    tabs.get_by_role("link", name="Chat").click()
    page.get_by_role("button", name="Sign out").click()
    chat.toast("You are signed out.")
    expect(tabs.get_by_role("link", name="Maintain")).to_be_hidden()
    page.goto(f"{server.url}#/maintain")
    expect(page.get_by_text("This tab is for the maintainers of this chat.")).to_be_visible()


def test_the_page_speaks_the_browser_s_language_until_another_is_chosen(
    server: Any, open_chat: Callable[..., Any]
) -> None:
    chat = open_chat(server, locale="fr-CA")
    page = chat.page
    expect(page.get_by_role("heading", name="Comment puis-je vous aider ?")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    page.get_by_role("button", name="Réglages").click()
    page.get_by_role("combobox", name="Langue").select_option(label="English")
    expect(page.get_by_role("heading", name="How can I help?")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_what_the_server_cannot_do_is_said_in_the_browser_s_language(
    new_server: Callable[..., Any], visitor: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "home0" / NAME).mkdir(parents=True)
    server, page = new_server("--model", "nowhere/x.gguf"), visitor(locale="fr-FR")
    page.goto(server.url)
    expect(page.locator("#notice")).to_contain_text("Il n'y a pas de fichier de modèle à nowhere/x.gguf.")
    page.goto(f"{server.url}#/mine")
    said = "Les avis sont désactivés, car rien n'a pu être conservé sur ce serveur."
    expect(page.get_by_role("main", name="Mes avis")).to_contain_text(said)
    page.goto(f"{server.url}#/compare")
    expect(page.get_by_role("main", name="Comparer")).to_contain_text("Il n'y a pas de fichier de modèle")
