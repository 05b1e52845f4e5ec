"""For every test: its own state folder, no telemetry, and no network beyond this machine."""

import gc
import ipaddress
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.order import BROWSER, Stopwatch, group_of, longest_first

# Read by the libraries when they are imported, so set before any test module is; processes inherit them.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    GRADIO_ANALYTICS_ENABLED="False",
    TOKENIZERS_PARALLELISM="false",
)
for name in ("BACKTALK_SECRET", "SPACE_ID", "SYSTEM", "HF_TOKEN"):
    os.environ.pop(name, None)

# Of several workers each has a core of its own: threads of torch and llama.cpp that spin for one another's
# core would take most of the time. What a worker starts stays there too.
CORE: set[int] = set()
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    CORE = {cores[int(worker.removeprefix("gw")) % len(cores)]}
    os.sched_setaffinity(0, CORE)


# What is saved durably waits for the disk many thousand times; in memory it is flushed at once.
MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-seconds", action="store_true", help="write down how long each file took")


def pytest_configure(config: pytest.Config) -> None:
    """Several workers have their folders in memory, where the system has room for them there."""
    if config.option.write_seconds and "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Stopwatch(config.rootpath))
    if getattr(config.option, "numprocesses", None) and "TMPDIR" not in os.environ and _has_room(MEMORY):
        folder = tempfile.mkdtemp(prefix="backtalk-", dir=MEMORY)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ["TMPDIR"] = folder
        tempfile.tempdir = None  # read anew


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where there are several workers, one takes the tests of a file, and one all that open a browser."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item.path)))
    if "PYTEST_XDIST_WORKER" in os.environ:
        places = longest_first(group_of(item.path) for item in items)
        items.sort(key=lambda item: places[group_of(item.path)])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The browser's tests may use every core; the tests after them have their own one again."""
    if CORE and group_of(item.path) != BROWSER:
        os.sched_setaffinity(0, CORE)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Any:
    """What is imported stays: each training collects garbage, and would look through all of it each time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def _has_room(folder: Path) -> bool:
    """Programs have to start from there, too."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return False
    place = os.statvfs(folder)
    return place.f_bavail * place.f_frsize >= ROOM and not place.f_flag & os.ST_NOEXEC


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`BACKTALK_HOME` of this test alone."""
    folder = tmp_path / "home"
    monkeypatch.setenv("BACKTALK_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Any:
    """A test that leaves this machine fails with a sentence."""
    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex"):
            patch.setattr(socket.socket, method, _only_here(getattr(socket.socket, method)))
        yield


def _only_here(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family != socket.AF_UNIX and not _is_here(address[0]):
            raise AssertionError(f"A test tried to reach {address[0]}; tests stay on this machine.")
        return connect(self, address)

    return guarded


def _is_here(host: str) -> bool:
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
