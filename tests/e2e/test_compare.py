"""Compare in a real browser: a question to two models, a vote by keyboard, the names after it.

Command: .venv/bin/python -m pytest tests/e2e/test_compare.py
Promise: the real server loads the second model, both answers stream, and no name is shown before the vote.
"""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from backtalk.files import sha256_of, write_json
from tests.e2e.conftest import Server

HERE = Path(__file__).parent
MINI = HERE.parents[1] / "models" / "mini" / "mini-Q8_0.gguf"
ROUND = b"backtalk.round" + struct.pack("<I", 4)  # a GGUF's entry of 32 bits
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
FAINT_TEXT = (HERE / "faint_text.js").read_text(encoding="utf-8")
SMALL_TARGETS = (HERE / "small_targets.js").read_text(encoding="utf-8")


def leave_export(number: int, home: Path) -> None:
    """The bundled model as the export of a round."""
    path = home / "exports" / f"round-{number}" / f"round{number}-Q8_0.gguf"
    path.parent.mkdir(parents=True)
    data = MINI.read_bytes()
    path.write_bytes(data.replace(ROUND + struct.pack("<I", 0), ROUND + struct.pack("<I", number)))
    output = {"path": path.name, "sha256": sha256_of(path), "bytes": path.stat().st_size}
    write_json(path.parent / "card.json", {"kind": "export", "outputs": [output]})


@pytest.fixture(scope="module")
def server(browser_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one export beside what it serves."""
    server = Server(tmp_path_factory.mktemp("compare") / "home").start()
    leave_export(2, server.home)
    yield server
    server.end()


def tab(page: Page, server: Any, name: str) -> Any:
    page.goto(f"{server.url}#/{name}")
    view = page.locator(f"#view-{name}")
    expect(view.get_by_role("heading", level=1)).to_be_visible()
    return view


def test_a_comparison_with_the_keyboard_alone(visitor: Callable[..., Page], server: Any) -> None:
    page = visitor()
    view = tab(page, server, "compare")
    options = view.get_by_role("combobox", name="The other model").get_by_role("option")
    expect(options).to_have_text(["mini, base (answers now)", "round2-Q8_0, round 2"])
    box = view.get_by_role("textbox", name="Your question to both")
    expect(box).to_be_focused()
    page.keyboard.type("How long can I return things?")
    page.keyboard.press("Enter")
    vote = view.get_by_role("group", name="Which answer is better?")
    expect(vote).to_be_focused()
    a, b = (view.get_by_role("article", name=f"Answer {letter}") for letter in "AB")
    expect(a).to_contain_text("days")
    expect(b).to_contain_text("days")
    assert "round2" not in a.inner_text() + b.inner_text()
    page.keyboard.press("1")
    status = view.get_by_role("status").filter(has_text="Saved on this machine.")
    expect(status).to_be_visible()
    named = {a.locator(".who").inner_text(), b.locator(".who").inner_text()}
    assert named == {"mini, base", "round2-Q8_0, round 2"}
    expect(view).to_contain_text("Of 1 that prefer one, 100 % prefer")
    a.get_by_text("What was good about it?").first.click()
    a.get_by_role("checkbox", name="Clear").check()
    expect(status).to_be_visible()
    view.get_by_role("button", name="Next question").focus()
    page.keyboard.press("Enter")
    expect(box).to_be_focused()
    expect(box).to_have_value("")
    expect(a).to_be_hidden()
    flags = json.loads(server.backtalk("flags", "list", "--json").splitlines()[-1])["flags"]
    assert [flag["verdict"] for flag in flags[:2]] == ["mixed", "mixed"]


def test_both_tabs_can_be_read_and_reached(visitor: Callable[..., Page], server: Any) -> None:
    for window, colours in ((PHONE, "light"), (PHONE, "dark"), ({}, "light"), ({}, "dark")):
        page = visitor(color_scheme=colours, **window)
        view = tab(page, server, "compare")
        expect(page.locator("#model")).to_have_attribute("data-state", "ready")  # then as fast as may be
        view.get_by_role("textbox").fill("What can you do?")
        view.get_by_role("textbox").press("Enter")
        view.get_by_role("button", name="Both are good").click()
        expect(view.get_by_role("status").filter(has_text="Saved on this machine.")).to_be_visible()
        for name in ("compare", "mine"):
            view = page.locator(f"#view-{name}") if name == "compare" else tab(page, server, name)
            assert page.evaluate(FAINT_TEXT, 4.5) == []
            assert view.evaluate("(view) => view.scrollWidth - view.clientWidth") == 0
            if window:
                assert page.evaluate(SMALL_TARGETS, 44) == []
