"""What can be evaluated: a folder, an adapter, a GGUF as it is served, an endpoint; all asked the same.

Command: python -m pytest tests/training/test_evaluation_subjects.py
Promise: the same model gives the same answers and the same bits per byte whatever holds it.
"""

import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from backtalk.errors import ContextError, ModelError, NetworkError, WordsError
from export.convert import convert
from tests.export.taught import mini_folder, save_run, taught
from training.evaluation.endpoint import Endpoint
from training.evaluation.items import PRIMARY, Item, read_items
from training.evaluation.subject import Subject, find_base, open_baseline, open_subject

EVALUATION = Path("training/mini/evaluation")
FILES = [EVALUATION / f"{row}.jsonl" for row in ("facts", "history", "summaries", "system")]
MOST = 48


@pytest.fixture(scope="module")
def items() -> list[Item]:
    """A few of each kind, of very different lengths, and a text without a prompt."""
    chosen = read_items({PRIMARY: FILES})[::95]
    text = replace(chosen[0], id="text", messages=(), reference="We deliver to Belgium, Grüße 🙂.")
    return [*chosen, text]


@pytest.fixture(scope="module")
def folder() -> Iterator[Subject]:
    subject = open_subject("models/mini")
    yield subject
    subject.close()


@pytest.fixture(scope="module")
def f16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(Path("models/mini"), tmp_path_factory.mktemp("gguf") / "mini-F16.gguf", "F16")


def bits(subject: Subject, items: list[Item]) -> dict[str, float]:
    return {item.id: found for item, found in subject.read(items)}


def answers(subject: Subject, items: list[Item]) -> dict[str, Any]:
    return {item.id: answer for item, answer in subject.ask([one for one in items if one.messages], MOST)}


def test_bits_per_byte_of_folder_and_f16_file_agree(folder: Subject, f16: Path, items: list[Item]) -> None:
    served = open_subject(str(f16))
    ours, theirs = bits(folder, items), bits(served, items)
    served.close()
    size = sum(len(item.reference.encode()) for item in items)
    assert set(ours) == set(theirs) == {item.id for item in items}
    assert abs(sum(ours.values()) - sum(theirs.values())) / size <= 1e-3
    assert all(abs(ours[item.id] - theirs[item.id]) / len(item.reference.encode()) <= 1e-2 for item in items)


def test_bits_are_those_of_one_text_at_a_time(folder: Any, items: list[Item]) -> None:
    """Batches are padded, and padding must not be seen."""
    import torch

    together = bits(folder, items)
    for item in items[::3]:
        ids, given = folder._text(item)
        with torch.inference_mode():
            logits = folder._model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        alone = -sum(float(logits[place - 1, ids[place]]) for place in range(given, len(ids)))
        assert together[item.id] == pytest.approx(alone / math.log(2), abs=1e-2)


def test_folder_and_f16_file_answer_alike(folder: Subject, f16: Path, items: list[Item]) -> None:
    served = open_subject(str(f16))
    ours, theirs = answers(folder, items), answers(served, items)
    served.close()
    assert ours == theirs
    assert all(answer.ended for answer in ours.values())


def test_an_answer_that_is_cut_off_says_so(folder: Subject, items: list[Item]) -> None:
    for _, answer in folder.ask([item for item in items if item.messages][:3], 3):
        assert answer.tokens == 3 and not answer.ended


def test_an_adapter_answers_as_taught_and_its_base_is_found(
    folder: Subject, tmp_path: Path, items: list[Item]
) -> None:
    base = mini_folder(tmp_path / "base")
    run = save_run(taught(base), base, tmp_path / "run")
    few = items[:3]
    adapter, before = open_subject(str(run)), open_baseline("base", str(run))
    assert {entry["role"] for entry in adapter.inputs} == {"base", "adapter"}
    assert bits(before, few) == pytest.approx(bits(folder, few), abs=1e-3)
    assert bits(adapter, few) != pytest.approx(bits(folder, few), abs=1e-5)  # both by the same arithmetic


def test_a_base_that_changed_since_is_refused(tmp_path: Path) -> None:
    base = mini_folder(tmp_path / "base")
    run = save_run(taught(base), base, tmp_path / "run")
    (base / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="differs from what it was then"):
        find_base(run)


def test_a_text_that_does_not_fit_is_named_by_its_row(folder: Subject, f16: Path, items: list[Item]) -> None:
    long = replace(items[0], reference="word " * 3000)
    for subject in (folder, open_subject(str(f16))):
        with pytest.raises(ContextError, match="row 1.*reads 2,048|row 1.*2,048"):
            list(subject.read([long]))
    asked = replace(items[0], messages=({"role": "user", "content": "word " * 3000},))
    with pytest.raises(ContextError, match="row 1"):
        list(folder.ask([asked], MOST))


def test_what_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match="not a model that is known here"):
        open_subject("minni")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_subject(str(tmp_path))


class Server(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that is busy at the first question."""

    busy = 1
    asked: list[dict[str, Any]] = []

    def do_GET(self) -> None:
        self._reply(200, {"data": [{"id": "desk"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if Server.busy:
            Server.busy -= 1
            return self._reply(503, {"error": "busy"})
        Server.asked.append(body)
        last = body["messages"][-1]["content"]
        choice = {"message": {"content": f"You said: {last}"}, "finish_reason": "length"}
        self._reply(200, {"choices": [choice], "usage": {"completion_tokens": 4}})

    def _reply(self, code: int, value: Any) -> None:
        text = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_endpoint_is_asked_greedily_again_when_busy_and_measures_no_bits(
    address: str, items: list[Item]
) -> None:
    endpoint = Endpoint(address, pause=0.0)
    assert endpoint.name == "desk"
    few = [item for item in items if item.messages][:5]
    found = answers(endpoint, few)
    assert {name: answer.text for name, answer in found.items()} == {
        item.id: f"You said: {item.messages[-1]['content']}" for item in few
    }
    assert all(body["temperature"] == 0 and body["max_tokens"] == MOST for body in Server.asked)
    assert not any(answer.ended for answer in found.values())
    assert bits(endpoint, few) == {}


def test_an_endpoint_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(NetworkError, match="was not reached"):
        Endpoint("http://127.0.0.1:9/v1", pause=0.0)
