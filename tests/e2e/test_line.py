"""Waiting for one's turn: programs take every place, a visitor sees where she stands, they hang up."""

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import expect

from backtalk.engine import Limits
from tests.e2e.slow import slow_model

KEY = "0123456789abcdef"


def begun(port: int) -> http.client.HTTPResponse:
    """A program's long answer whose first words are there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
    asked = {"messages": [{"role": "user", "content": "Tell me everything."}], "stream": True}
    headers = {"Authorization": f"Bearer {KEY}"}
    body = json.dumps(asked | {"max_tokens": 4096, "temperature": 1, "seed": 1})
    connection.request("POST", "/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    assert answer.status == 200 and answer.readline().startswith(b"data: ")
    return answer


def test_a_visitor_in_line_sees_the_place_and_is_answered_when_programs_hang_up(
    tmp_path: Path,
    new_server: Callable[..., Any],
    open_chat: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BACKTALK_API_KEY", KEY)
    server = new_server("--model", str(slow_model(tmp_path / "slow")))
    chat = open_chat(server)
    chat.set("Maximum length", 16)
    programs = [begun(server.port) for _ in range(Limits.live)]
    chat.begin("Hello?")
    expect(chat.page.locator(".pending .line")).to_contain_text("You are number 1 in line")
    for program in programs:
        program.close()
    expect(chat.stop).to_have_count(0)
    expect(chat.sent_line(chat.answers.last)).to_contain_text("cut off at the maximum length")
    expect(chat.page.locator(".pending .line")).to_have_count(0)
    assert b"ok" in urlopen(f"{server.url}health").read()
