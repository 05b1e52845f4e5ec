"""A model made from Llama says so beside the message box, where everybody reads it.

Command: .venv/bin/python -m pytest -q tests/e2e/test_attribution.py
Promise: the words that its licence wants are on the page as soon as the model is there.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from backtalk.models import MINI


def test_built_with_llama_stands_below_the_message_box(
    tmp_path: Path, new_server: Callable[..., Any], open_chat: Callable[..., Any]
) -> None:
    model = shutil.copy(MINI, tmp_path / "Llama-3.2-1B-desk-Q8_0.gguf")
    chat = open_chat(new_server("--model", str(model)))
    expect(chat.page.locator("#note")).to_have_text(
        "A small language model. Its answers can be wrong. Built with Llama."
    )
