"""A real browser for the end-to-end tests: `browser_path`, and `page`, a fresh visitor in it."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from scripts.browser import HOW_TO_GET_ONE, find_browser

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The browser's path; without one the tests that want it are skipped, but fail where CI=true."""
    path = find_browser()
    if path:
        return path
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(HOW_TO_GET_ONE)
    pytest.skip(HOW_TO_GET_ONE)


@pytest.fixture(scope="session")
def browser(browser_path: str) -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser_path, args=QUIET)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A visitor who was never here: empty storage, a desktop window."""
    visitor = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    yield visitor.new_page()
    visitor.close()
