"""For every test: its own state folder, no telemetry, and no network beyond this machine."""

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent

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
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where there are several workers, one takes the tests of a file, and one all that open a browser."""
    for item in items:
        group = "browser" if "e2e" in item.path.parts else str(item.path.relative_to(TESTS))
        item.add_marker(pytest.mark.xdist_group(group))


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
