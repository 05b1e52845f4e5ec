"""Windows that stay open from one test to the next, each time with a visitor who was never here.

    windows = Windows(browser)
    page = windows.open(color_scheme="dark")    a desktop in English, unless said otherwise; empty storage
    windows.leave()                             after a test: what its pages kept is forgotten

A window costs the browser more than what it shows, and a new one compiles Gradio's scripts anew: a page that
opens in the window of the one before takes a third of the CPU. `anew=True` gives one that nobody else uses,
for what cannot be taken back: scripts that run before the page's, and listeners.
"""

import json
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Error, Page

DESKTOP = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"}
PATIENCE_MS = 60_000  # for one step on a busy machine
WRITE_DOWN_TOASTS = """(() => {
  window.toasts = [];
  const look = ({ target }) => {
    if (target.id === "toast" && target.checkVisibility()) toasts.push(target.innerText);
  };
  const watch = new MutationObserver((changes) => changes.forEach(look));
  watch.observe(document, { subtree: true, childList: true });
})()"""
"""They pass after seconds, in which a busy machine may not come to look."""


class Window:
    """A page with storage of its own."""

    def __init__(self, browser: Browser, options: dict[str, Any]) -> None:
        self._context = browser.new_context(**options)
        self._context.set_default_timeout(PATIENCE_MS)
        self._context.add_init_script(WRITE_DOWN_TOASTS)
        self.page = self._context.new_page()
        self._devtools = self._context.new_cdp_session(self.page)

    def leave(self) -> bool:
        """Forgets the visitor; False where the window is of no use any more."""
        try:
            self.page.unroute_all(behavior="ignoreErrors")
            here = urlsplit(self.page.url)
            if here.scheme == "http":
                self.page.evaluate("sessionStorage.clear()")
                self.page.goto("about:blank")
                origin = f"{here.scheme}://{here.netloc}"
                self._devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
            self._context.clear_cookies()
        except Error:  # the test closed the page, or the page hangs
            return False
        return True

    def close(self) -> None:
        self._context.close()


class Windows:
    """All of one browser, by what kind of machine they stand for."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: dict[str, list[Window]] = {}
        self._taken: list[tuple[str, Window]] = []

    def open(self, color_scheme: str = "light", anew: bool = False, **options: Any) -> Page:
        """A visitor's first page. `options` are those of a browser context."""
        options = {**DESKTOP, **options}
        kind = "" if anew else json.dumps(options, sort_keys=True)
        free = self._free.setdefault(kind, [])
        window = free.pop() if free else Window(self._browser, options)
        self._taken.append((kind, window))
        window.page.emulate_media(color_scheme=color_scheme)  # type: ignore[arg-type]
        return window.page

    def leave(self) -> None:
        """Every window that was opened since is free again, or closed."""
        for kind, window in self._taken:
            if kind and window.leave():
                self._free[kind].append(window)
            else:
                window.close()
        self._taken.clear()
