"""The numbers for an operator: counted from the engine and the outbox, shut where a key is set.

Command: pytest tests/app/programs/test_metrics.py
Promise: a real engine and a real outbox; every sample has its help and its type, and none names a visitor.
"""

import re
from typing import Any

from starlette.testclient import TestClient

from app.access.key import Key
from app.desk.answering import Desk
from app.flags.flagging import Flagging
from app.programs.metrics import Metrics
from backtalk.errors import ModelError

SAMPLE = re.compile(r'(?P<name>[a-z_]+)(\{(le|reason)="[\w.+]+"\})? (?P<value>[\d.e+-]+)')


def numbers(text: str) -> dict[str, float]:
    found = [SAMPLE.fullmatch(line) for line in text.splitlines() if not line.startswith("# ")]
    assert all(found)
    return {one[0].rpartition(" ")[0]: float(one["value"]) for one in found if one}


def test_answers_and_flags_are_counted_and_no_visitor_is_named(desk: Desk, talk: Any) -> None:
    flagging = Flagging.at_home()
    client = TestClient(Metrics(desk, flagging, None))
    before = numbers(client.get("/metrics").text)
    path = talk("my secret word is swordfish", visitor="visitor-of-metrics")
    flagging.save("visitor-of-metrics", path, path[-1].id, {"verdict": "bad"})
    answer = client.get("/metrics")
    after = numbers(answer.text)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert after["backtalk_model_ready"] == 1
    assert after["backtalk_asked_total"] == before["backtalk_asked_total"] + 1
    assert (after["backtalk_flags_standing"], after["backtalk_flag_events_unsealed"]) == (1, 1)
    assert after["backtalk_flag_events_waiting"] == 0  # nobody agreed to its leaving
    for name in {re.sub(r"(_bucket|_sum|_count)?(\{.*)?$", "", key) for key in after}:
        assert f"# TYPE {name} " in answer.text and f"# HELP {name} " in answer.text
    assert "swordfish" not in answer.text and "visitor-of" not in answer.text
    flagging.close()


def test_without_a_model_the_flags_are_still_counted() -> None:
    def none() -> Any:
        raise ModelError("There is no model file.")

    desk = Desk(none).start()
    desk.wait(10)
    text = TestClient(Metrics(desk, Flagging.at_home(), None)).get("/metrics").text
    assert numbers(text)["backtalk_model_ready"] == 0 and "backtalk_flags_standing 0" in text


def test_where_there_is_a_key_the_numbers_want_it(desk: Desk) -> None:
    client = TestClient(Metrics(desk, Flagging(None), Key("0123456789abcdef")))
    assert client.get("/metrics").status_code == 401
    shown = {"Authorization": "Bearer 0123456789abcdef"}
    assert client.get("/metrics", headers=shown).status_code == 200
