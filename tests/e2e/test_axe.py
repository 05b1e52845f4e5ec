"""axe-core finds nothing serious or critical on any tab, by day and in the dark, on a desktop and a phone.

Command: pytest tests/e2e/test_axe.py
Promise: whatever axe can tell of WCAG 2.2 AA holds for every tab that the page shows.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from scripts.axe import HOW_TO_GET_IT, find_axe, should_be_here

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async (levels) => {
  const { violations } = await axe.run("#backtalk", { runOnly: levels, resultTypes: ["violations"] });
  const bad = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return bad.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
}"""


@pytest.fixture(scope="session")
def axe() -> str:
    """The script; without it these tests are skipped, but fail where CI=true and the setup could bring it."""
    script = find_axe()
    if script:
        return script.read_text(encoding="utf-8")
    if os.environ.get("CI", "").lower() == "true" and should_be_here():
        pytest.fail(HOW_TO_GET_IT)
    pytest.skip(HOW_TO_GET_IT)


def violations(page: Page, axe: str) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    return page.evaluate(RUN, LEVELS)


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("window", [{}, PHONE], ids=["desktop", "phone"])
def test_no_tab_keeps_anybody_out(
    server: Any, visitor: Callable[..., Page], axe: str, colours: str, window: dict[str, Any]
) -> None:
    page = visitor(color_scheme=colours, **window)
    page.goto(server.maintainer_link())  # who sees every tab
    expect(page.locator("#view-maintain")).to_be_visible()
    tabs = page.locator("#tabs [data-view]")
    names = [tab.get_attribute("data-view") for tab in tabs.all()]
    assert "chat" in names and "insights" in names
    found = {}
    for name in names:
        page.locator(f"#tabs [data-view={name}]").click()
        section = page.locator(f"#view-{name}")
        expect(section.get_by_role("heading").first).to_be_visible()
        expect(section.get_by_text("Counting", exact=True)).to_have_count(0)  # what insights says before
        found[name] = violations(page, axe)
    assert found == dict.fromkeys(names, [])


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_flagged_answer_and_the_settings_keep_nobody_out(
    server: Any, open_chat: Callable[..., Any], axe: str, colours: str
) -> None:
    chat = open_chat(server, color_scheme=colours)
    chat.button(chat.ask("What can you do?"), "Bad answer").click()
    expect(chat.panel()).to_contain_text("Your vote is saved.")
    assert violations(chat.page, axe) == []
    chat.page.get_by_role("button", name="Settings").click()
    assert violations(chat.page, axe) == []
