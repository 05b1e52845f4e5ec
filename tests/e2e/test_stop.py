"""Stopping an answer, on a model that takes its time: random weights, which hardly ever find an end."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from playwright.sync_api import expect
from transformers import LlamaConfig, LlamaForCausalLM

from export.convert import convert

MINI = Path(__file__).parents[2] / "models" / "mini"
LARGER = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12}


def slow_model(folder: Path) -> Path:
    """A larger sister of the bundled model with its tokenizer; it has learned nothing."""
    torch.manual_seed(0)
    config = LlamaConfig.from_pretrained(MINI, **LARGER)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(MINI / name, folder)
    return convert(folder, folder / "slow-Q8_0.gguf", "Q8_0")


def test_a_stopped_answer_stays_and_the_conversation_goes_on(
    tmp_path: Path, new_server: Callable[..., Any], open_chat: Callable[..., Any]
) -> None:
    chat = open_chat(new_server("--model", str(slow_model(tmp_path / "slow"))))
    chat.set("Maximum length", 1024)
    chat.begin("Tell me everything.")
    expect(chat.page.locator(".pending .text")).to_contain_text(" ")
    chat.stop.click()
    expect(chat.sent_line(chat.answers.last)).to_contain_text("stopped")
    assert len(chat.answers.last.locator(".text").inner_text()) > 0

    chat.begin("And now?")
    expect(chat.stop).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(chat.sent_line(chat.answers.last)).to_contain_text("stopped")
    expect(chat.sent_line(chat.answers.last)).to_contain_text("1 earlier turn")
