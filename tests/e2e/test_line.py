"""Waiting for one's turn: programs take every place, a visitor sees where she stands, and they hang up."""

import http.client
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import expect

from backtalk.engine import Limits
from tests.e2e.conftest import KEY

LONG = 1500  # tokens: minutes; eight such answers fit into what conversations share, so that none waits


def begun(port: int) -> http.client.HTTPResponse:
    """A program's long answer whose first words are there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
    asked = {"messages": [{"role": "user", "content": "Tell me everything."}], "stream": True}
    headers = {"Authorization": f"Bearer {KEY}"}
    body = json.dumps(asked | {"max_tokens": LONG, "temperature": 0})
    connection.request("POST", "/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    assert answer.status == 200 and answer.readline().startswith(b"data: ")
    return answer


def number(server: Any, name: str) -> int:
    """One of the server's own numbers."""
    request = Request(f"{server.url}metrics", headers={"Authorization": f"Bearer {KEY}"})
    lines = urlopen(request).read().decode().splitlines()
    (line,) = (line for line in lines if line.startswith(f"backtalk_{name} "))
    return int(line.split()[1])


def until(server: Any, name: str, wanted: int) -> None:
    deadline = time.monotonic() + 100
    while (found := number(server, name)) != wanted:
        assert time.monotonic() < deadline, f"{name} is {found}"
        time.sleep(0.1)


def test_a_visitor_in_line_sees_the_place_and_is_answered_when_others_go_away(
    slow_server: Any, open_chat: Callable[..., Any]
) -> None:
    server = slow_server
    chat, impatient = open_chat(server), open_chat(server)  # before: the programs' answers end some day
    chat.set("Maximum length", 16)
    with ThreadPoolExecutor(Limits.live) as several:  # one after another, the first might be over too soon
        programs = list(several.map(begun, [server.port] * Limits.live))
    until(server, "active", Limits.live)
    chat.begin("Hello?")
    until(server, "queued", 1)
    expect(chat.page.locator(".pending .line")).to_contain_text("You are number 1 in line")
    impatient.begin("Hello?")
    until(server, "queued", 2)
    expect(impatient.page.locator(".pending .line")).to_contain_text("You are number 2 in line")
    impatient.page.close()
    until(server, "queued", 1)
    for program in programs:
        program.close()
    expect(chat.stop).to_have_count(0)
    expect(chat.sent_line(chat.answers.last)).to_contain_text("cut off at the maximum length")
    expect(chat.page.locator(".pending .line")).to_have_count(0)
