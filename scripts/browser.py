"""The browser of the end-to-end tests: the machine's own Chromium or Chrome, else Playwright's, else none.

    .venv/bin/python -m scripts.browser     finds one, or installs one, or says how to get one

Debian's package is installed where this runs as root on Debian; elsewhere Playwright fetches its own.
"""

import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_CHROME = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
HOW_TO_GET_ONE = (
    "No Chromium or Chrome was found, so the browser tests cannot run. Install Chromium with this machine's "
    "package manager, or run: .venv/bin/playwright install chromium"
)


def find_browser() -> str | None:
    """The path of a browser that Playwright can drive."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    return next((str(path) for path in (MAC_CHROME, _playwrights_own()) if path.exists()), None)


def main() -> int:
    """Leaves a browser behind where that is possible; 1 where it is not."""
    if find_browser():
        return 0
    print("Installing Chromium for the browser tests.", flush=True)
    _install()
    if find_browser():
        return 0
    print(HOW_TO_GET_ONE, file=sys.stderr)
    return 1


def _install() -> None:
    if os.geteuid() == 0 and platform.system() == "Linux" and _is_debian():
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _try("apt-get", "-qq", "update", environment=quiet)
        _try("apt-get", "-qq", "install", "-y", "--no-install-recommends", "chromium", environment=quiet)
    if not find_browser():
        impatient = {**os.environ, "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "5000"}  # milliseconds
        _try(sys.executable, "-m", "playwright", "install", "chromium", environment=impatient)


def _is_debian() -> bool:
    """Ubuntu's package is a shell around a snap, which a container cannot run."""
    return platform.freedesktop_os_release().get("ID") == "debian"


def _try(*command: str, environment: dict[str, str]) -> None:
    with suppress(OSError, subprocess.TimeoutExpired):  # whether it helped is seen by looking again
        subprocess.run(command, env=environment, capture_output=True, timeout=600)


def _playwrights_own() -> Path:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


if __name__ == "__main__":
    sys.exit(main())
