"""A flagged answer with every column filled, an outbox of its own for each test, machines and datasets.

A module that wants `datasets` also says `pytest_plugins = ["tests.hub.local"]`.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from feedback.hub.dataset import FLAGS, SAFETY
from feedback.schema import Answer, Contributor, Message, Model, Sampling, Sent, pseudonym
from feedback.store.outbox import NAME, Outbox
from feedback.store.saving import FlaggedMessage
from tests.feedback.machines import NAMES, Machine
from tests.hub.server import Hub


@pytest.fixture
def message() -> FlaggedMessage:
    shown = (
        Message("m1", "user", "My order is 4821."),
        Message("m2", "assistant", "Thank you, order 4821."),
        Message("m3", "user", "How long can I send it back?"),
    )
    return FlaggedMessage(
        contributor=Contributor(pseudonym(b"a secret for tests", "visitor"), "anon", "en"),
        conversation_id="c1",
        message_id="m4",
        parent_message_id="m3",
        sibling_ids=("m4b",),
        turn_index=1,
        message_at="2026-11-20T10:00:00.000Z",
        shown=shown,
        sent=Sent("last_n", ("m3",), 1, 52, "Answer in one sentence."),
        answer=Answer("You can send it back within 30 days.", "stop", 11, False, 41.5, 80.25),
        model=Model(
            name="mini",
            repo="mini",
            gguf_file="mini-Q8_0.gguf",
            gguf_sha256="ab" * 32,
            quant="Q8_0",
            template_sha256="cd" * 32,
            engine="llama-cpp-python-0.3.36",
            context=2048,
            threads=2,
        ),
        sampling=Sampling(0.7, 0.9, 40, 0.0, 1.0, 256, 7),
        app_commit="0123456",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    with closing(Outbox(path)) as opened:
        yield opened


@pytest.fixture
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once; how long a test waits for them stays what it says."""
    quick = SimpleNamespace(sleep=lambda seconds: time.sleep(0.001), monotonic=time.monotonic)
    monkeypatch.setattr("backtalk.hub.time", quick)


@pytest.fixture
def datasets(hub: Hub, quick_pauses: None, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The Hub, with both datasets named; neither is there yet."""
    monkeypatch.setenv("BACKTALK_FLAGS_DATASET", NAMES[FLAGS])
    monkeypatch.setenv("BACKTALK_SAFETY_DATASET", NAMES[SAFETY])
    return hub


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """machine("space") is the outbox of another machine."""
    with ExitStack() as opened:
        yield lambda name: opened.enter_context(closing(Outbox(tmp_path / name / NAME)))
