"""The insights tab in a real browser: nothing to show yet, then figures that a screen reader can read too.

Command: pytest tests/e2e/test_insights.py
Promise: every chart has a name, a description and a table; a phone shows all of it within its width.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
READABLE = 4.5  # contrast of text, WCAG 2.2 AA
FAINT_TEXT = (Path(__file__).parent / "faint_text.js").read_text(encoding="utf-8")
SHARE = {"part": 30, "whole": 40, "from": 0.5981, "to": 0.8581}
FIGURES = {
    "at": "2026-11-21T12:00:00+00:00",
    "fewest": 10,
    "flags": 40,
    "good": SHARE,
    "models": [{"name": "mini", "round": 0, **SHARE}],
    "rounds": [{"round": 0, **SHARE}],
    "reasons": [{"id": "outdated", "label": "Out of date", "direction": "bad", "count": 12}],
    "fixes": [{"round": 1, "at": "", "fixed": 11, "still_wrong": 2, "newly_broken": 0}],
    "hours": {"decision": 0.5, "set": None, "fixed": 30.0},
    "hidden": {"models": 1, "rounds": 0, "reasons": 3, "fixes": 0},
}


@pytest.fixture
def insights(server: Any, visitor: Callable[..., Page]) -> Callable[..., Page]:
    """insights(figures, ...) opens the tab; `figures` stand in for what a server with many flags says."""

    def insights(figures: dict[str, Any] | None = None, **options: Any) -> Page:
        page = visitor(**options)
        if figures:
            page.route("**/gradio_api/run/insights", lambda route: route.fulfill(json={"data": [figures]}))
        page.goto(f"{server.url}#/insights")
        expect(page.get_by_role("heading", name="Insights", level=1)).to_be_visible()
        return page

    return insights


def test_before_there_is_enough_the_tab_says_what_it_will_show(insights: Callable[..., Page]) -> None:
    page = insights()
    expect(page.get_by_role("heading", name="There is not enough to show yet")).to_be_visible()
    expect(page.get_by_text("which reasons are given how often")).to_be_visible()


def test_every_chart_is_told_in_words_and_as_a_table(insights: Callable[..., Page]) -> None:
    page = insights(FIGURES)
    chart = page.get_by_role("img", name="Good flags by model")
    expect(chart).to_be_visible()
    expect(chart.locator("desc")).to_have_text("mini, base: 75% of 40")
    for image in page.locator("#view-insights svg[role=img]").all():
        names = str(image.get_attribute("aria-labelledby")).split()
        assert all(page.locator(f"#{name}").text_content() for name in names)
    page.get_by_text("The figures as a table").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("table", name="Good flags by model")).to_contain_text("60% – 86%")
    expect(page.locator("#view-insights")).to_contain_text("3 more groups are too small to be shown.")
    expect(page.locator(".tiles")).to_contain_text("30 hours")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_phone_shows_all_of_it_within_its_width(insights: Callable[..., Page], colours: str) -> None:
    page = insights(FIGURES, color_scheme=colours, **PHONE)
    expect(page.get_by_role("img", name="Flags by reason")).to_be_visible()
    section = page.locator("#view-insights")
    assert section.evaluate("(view) => view.scrollWidth <= view.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["viewport"]["width"]
    assert page.evaluate(FAINT_TEXT, READABLE) == []
