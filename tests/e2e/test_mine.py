"""My flags in a real browser: listed, changed, downloaded, taken back; and what is left after a new disk.

Command: .venv/bin/python -m pytest tests/e2e/test_mine.py
Promise: what the page shows is what the server stored, and nobody else's page shows it.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect


def open_mine(page: Any) -> Any:
    page.get_by_role("link", name="My flags").click()
    view = page.locator("#view-mine")
    expect(view.get_by_role("heading", name="My flags")).to_be_visible()
    return view


def test_my_flag_is_changed_downloaded_and_taken_back(
    new_server: Callable[..., Any], open_chat: Callable[..., Any], tmp_path: Path
) -> None:
    server = new_server()
    chat, stranger = open_chat(server), open_chat(server)
    page = chat.page
    chat.button(chat.ask("How long can I return things?"), "Bad answer").click()
    expect(chat.panel()).to_contain_text("Your vote is saved.")
    view = open_mine(page)
    entry = view.get_by_role("article", name="How long can I return things?")
    expect(entry).to_contain_text("Bad")
    expect(entry).to_contain_text("Saved here")
    expect(open_mine(stranger.page)).to_contain_text("You have not flagged an answer yet.")

    entry.get_by_role("button", name="Change").click()
    panel = entry.get_by_role("form", name="Feedback on this answer")
    panel.get_by_role("checkbox", name="Out of date").check()
    panel.get_by_role("textbox", name="Comment").fill("It is 45 days now.")
    panel.get_by_role("button", name="Save").click()
    expect(panel).to_contain_text("Saved on this machine.")
    panel.get_by_role("button", name="Close").click()
    expect(entry).to_contain_text("It is 45 days now.")
    expect(entry).to_contain_text("Out of date")

    with page.expect_download() as download:
        view.get_by_role("button", name="Download all of mine").click()
    download.value.save_as(tmp_path / "mine.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "mine.jsonl").read_text().splitlines()]
    assert [(row["op"], row["comment"]) for row in rows] == [("create", ""), ("amend", "It is 45 days now.")]

    entry.get_by_role("button", name="Take it back").click()
    expect(view).to_contain_text("You have not flagged an answer yet.")
    assert json.loads(server.backtalk("flags", "list", "--json").splitlines()[-1])["flags"] == []


def test_on_a_new_disk_the_browser_still_knows_the_flag_and_takes_it_back(
    new_server: Callable[..., Any], open_chat: Callable[..., Any]
) -> None:
    server = new_server()
    chat = open_chat(server)
    chat.button(chat.ask("What can you do?"), "Bad answer").click()
    expect(chat.panel()).to_contain_text("Your vote is saved.")
    server.end()
    for file in server.home.glob("outbox.sqlite*"):
        file.unlink() if file.is_file() else shutil.rmtree(file)
    server.start()
    chat.open()
    view = open_mine(chat.page)
    expect(view).to_contain_text("Known to this browser only")
    entry = view.get_by_role("article", name="What can you do?")
    entry.get_by_role("button", name="Take it back").click()
    expect(view).not_to_contain_text("Known to this browser only")
