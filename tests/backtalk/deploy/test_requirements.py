"""requirements.txt of a Gradio Space: pinned, current, portable, and never in the way of the Space's gradio.

Command: pytest tests/backtalk/deploy/test_requirements.py

Promise: the file of the checkout is the one that the pinned versions give; a wheel is only counted on where
the index was seen to have it.
"""

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backtalk.deploy import requirements
from backtalk.deploy.requirements import how_to_get_llama, pinned


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """A wheel index on this machine that has one file."""
    page = tmp_path / "llama-cpp-python"
    page.mkdir()
    (page / "index.html").write_text(
        f"<a href='x'>llama_cpp_python-{pinned('llama-cpp-python')}-py3-none-manylinux2014_x86_64.whl</a>"
    )
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_file_of_the_checkout_is_current() -> None:
    assert requirements.FILE.read_text() == requirements.requirements("compile")


def test_gradio_is_not_pinned_and_everything_else_is() -> None:
    lines = [line for line in requirements.requirements("compile").splitlines() if line[0] != "#"]
    assert [line for line in lines if "==" not in line] == [
        "gradio[oauth]>=6.31,<7  # the Space's sdk_version decides which"
    ]


def test_what_is_compiled_names_no_cpu() -> None:
    assert '"cmake.args=-DGGML_NATIVE=OFF;' in requirements.requirements("compile")


def test_a_prebuilt_wheel_is_never_silently_compiled() -> None:
    lines = requirements.requirements("prebuilt").splitlines()
    assert "--only-binary=llama-cpp-python" in lines
    assert any(re.fullmatch(r"llama-cpp-python==[\d.]+", line) for line in lines)


def test_a_wheel_is_taken_where_the_index_has_that_version(
    index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert how_to_get_llama(index) == "prebuilt"
    monkeypatch.setattr(requirements, "pinned", lambda name: "0.3.3")
    assert how_to_get_llama(index) == "compile"


def test_an_index_that_does_not_answer_has_none() -> None:
    assert how_to_get_llama("http://127.0.0.1:9") == "compile"
