"""A round while somebody chats: promoted, noticed, shown to who flagged, rolled back; nobody reloads.

Command: pytest tests/e2e/test_swap.py
Promise: the real verbs move the pointer, the real server takes the file over, a real browser shows it.
"""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from backtalk.files import write_json, write_jsonl

MINI = Path(__file__).parents[2] / "models" / "mini" / "mini-Q8_0.gguf"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
FAINT_TEXT = (Path(__file__).parent / "faint_text.js").read_text(encoding="utf-8")
READABLE = 4.5  # contrast of text, WCAG 2.2 AA
SOON = 60_000  # ms: a page asks every eight seconds, a busy machine takes its time
ROUND = b"backtalk.round" + struct.pack("<I", 4)  # a GGUF's entry of 32 bits
THEN, NOW = "You can return things within 30 days.", "You can return things within 45 days."


def of_round(number: int, home: Path) -> Path:
    """The bundled model as the file of a round."""
    path = home / "exports" / f"round-{number}" / f"mini-round-{number}-Q8_0.gguf"
    path.parent.mkdir(parents=True)
    data = MINI.read_bytes()
    assert data.count(ROUND + struct.pack("<I", 0)) == 1
    path.write_bytes(data.replace(ROUND + struct.pack("<I", 0), ROUND + struct.pack("<I", number)))
    return path


def leave_round(number: int, flag: str, home: Path) -> None:
    """What a round leaves for those who flagged."""
    row = {"flag_id": flag, "round": number, "status": "fixed", "then": THEN, "now": NOW}
    folder = home / "rounds" / str(number)
    write_jsonl(folder / "fixed.jsonl", [row])
    write_json(folder / "verdict.json", {"verdict": "PROMOTE"})


@pytest.mark.parametrize("window", [{}, PHONE], ids=["desktop", "phone"])
def test_a_promotion_is_noticed_its_fix_is_shown_and_a_rollback_takes_both_back(
    new_server: Callable[..., Any], open_chat: Callable[..., Any], window: dict[str, Any]
) -> None:
    server = new_server()
    chat, stranger = open_chat(server, **window), open_chat(server)
    page, thread = chat.page, chat.page.locator("#thread")
    fix = page.get_by_role("region", name="Fixed in round 3")
    answer = chat.ask("How long can I return things?")
    chat.button(answer, "Bad answer").click()
    expect(chat.panel()).to_contain_text("Your vote is saved.")
    chat.panel().get_by_role("button", name="Close").click()
    stranger.ask("How long can I return things?")
    [flag] = json.loads(server.backtalk("flags", "list", "--json").splitlines()[-1])["flags"]
    page.evaluate("window.isTheSamePage = true")

    leave_round(3, flag["flag_id"], server.home)
    server.backtalk("promote", str(of_round(3, server.home)), "--force", "--why", "a story")
    expect(page.locator("#model")).to_have_text("mini-round-3-Q8_0 · round 3", timeout=SOON)
    expect(thread.get_by_text("Now answering: round 3")).to_be_visible()
    expect(fix).to_contain_text(THEN)
    expect(fix).to_contain_text(NOW)
    expect(stranger.page.get_by_text("Now answering: round 3")).to_be_visible(timeout=SOON)
    expect(stranger.page.get_by_text("Fixed in round 3")).to_have_count(0)
    expect(chat.sent_line(answer)).to_contain_text("mini, base")
    expect(chat.sent_line(chat.ask("Do you ship to France?"))).to_contain_text("mini-round-3-Q8_0, round 3")
    expect(thread.get_by_text("Now answering: round 3")).to_have_count(1)
    assert page.evaluate(FAINT_TEXT, READABLE) == []
    assert page.evaluate("document.getElementById('scroll').scrollWidth") <= page.viewport_size["width"]

    server.backtalk("rollback", "--why", "a story")
    expect(page.locator("#model")).to_have_text("mini · base", timeout=SOON)
    expect(thread.get_by_text("Now answering: mini, base")).to_be_visible()
    expect(fix).to_have_count(0)
    expect(chat.sent_line(chat.ask("What can you do?"))).to_contain_text("mini, base")
    assert page.evaluate("window.isTheSamePage")

    page.reload()
    chat.wait()
    expect(thread.locator(".swapped")).to_have_text(["Now answering: round 3", "Now answering: mini, base"])
