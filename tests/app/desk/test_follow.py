"""The running chat takes over what is promoted, keeps what it has where that is bad, and drops no answer.

Command: pytest tests/app/desk/test_follow.py
Promise: real engines and real pointers; each look is made by the test itself, so nothing is waited for.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from app.desk.answering import FAILED, Desk
from app.desk.conversation import Controls
from app.desk.follow import Follower, needs
from backtalk import memory
from backtalk.engine import Engine, Limits, load
from backtalk.errors import NetworkError
from backtalk.files import read_json, sha256_of, write_json
from backtalk.home import home
from backtalk.models import MINI, Model, resolve
from backtalk.promoted import PointerOnHub, pointer_of
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]

CONTEXT, THREADS = 256, 1
LONG = Controls(temperature=2, top_p=1, max_tokens=512)
BUNDLED = {"file": "", "sha256": "", "name": "mini", "round": 0}


def promote(number: int, **more: Any) -> None:
    """Points to a copy of the bundled model that is called round 1, 2 ..."""
    path = home() / f"round-{number}.gguf"
    if not path.exists():
        shutil.copy(MINI, path)
    said = {"file": path.name, "sha256": sha256_of(path), "name": f"mini-{number}", "round": number}
    write_json(home() / "promoted.json", {**said, **more})


def damaged(number: int) -> Path:
    """What `promote` would point to, cut short."""
    path = home() / f"round-{number}.gguf"
    path.write_bytes(MINI.read_bytes()[:100_000])
    return path


class Watched:
    """A desk with a follower, and the engines that were opened for it."""

    def __init__(self, ref: str = ""):
        self.desk = Desk.for_model(ref, CONTEXT, THREADS).start()
        pointer = pointer_of(ref)
        assert pointer is not None
        self.opened: list[str] = []
        self.closed: dict[str, Event] = {}
        self.follower = Follower(self.desk, pointer, CONTEXT, THREADS, self._open)
        self.follower.begin()

    def _open(self, model: Model) -> Engine:
        self.opened.append(model.name)
        engine = load(model, CONTEXT, THREADS)
        close, closed = engine.close, self.closed.setdefault(model.name, Event())

        def closing() -> None:
            close()
            closed.set()

        engine.close = closing  # type: ignore[method-assign]
        return engine

    def look(self) -> str:
        """The model that answers after one more look."""
        self.follower.look()
        return self.desk.engine.model.name

    def ask(self, question: str = "hello", controls: Controls = LONG) -> Any:
        return self.desk.ask("visitor1", "conversation1", [], question, controls)

    @property
    def refused(self) -> dict[str, Any]:
        return read_json(home() / "serving.json")["refused"]


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    """watch(ref) opens a desk that follows the pointer of the ref."""
    opened: list[Watched] = []

    def watch(ref: str = "") -> Watched:
        opened.append(Watched(ref))
        return opened[-1]

    yield watch
    for one in opened:
        one.desk.close()


def test_what_is_promoted_answers_the_next_question_and_a_rollback_brings_the_old_one_back(
    watch: Any,
) -> None:
    watched = watch()
    assert watched.look() == "mini"
    promote(1)
    assert watched.look() == "mini-1"
    promote(2)
    assert watched.look() == "mini-2"
    assert watched.ask(controls=Controls(temperature=0)).model["round"] == 2
    promote(1)
    assert watched.look() == "mini-1"
    write_json(home() / "promoted.json", BUNDLED)
    assert watched.look() == "mini"
    assert read_json(home() / "serving.json")["model"]["name"] == "mini"


def test_an_answer_ends_on_the_model_that_began_it_and_only_then_is_that_model_closed(watch: Any) -> None:
    watched = watch()
    promote(2)
    watched.look()
    begun = watched.ask("Tell me everything.")
    text = iter(begun)
    first = next(text)
    promote(3)
    assert watched.look() == "mini-3"
    assert not watched.closed["mini-2"].is_set()
    later = watched.ask(controls=Controls(temperature=0))
    *_, whole = later
    assert later.message.model["name"] == "mini-3"
    assert not watched.closed["mini-2"].is_set()
    *_, whole = text
    assert whole.startswith(first) and begun.message.model["name"] == "mini-2"
    assert watched.closed["mini-2"].wait(30)


def test_a_reader_who_goes_away_does_not_keep_the_old_model(watch: Any) -> None:
    watched = watch()
    promote(1)
    watched.look()
    left, stopped = watched.ask("Tell me everything."), watched.ask("Tell me everything.")
    promote(2)
    watched.look()
    left.leave()
    assert not watched.closed["mini-1"].wait(0.05)
    stopped.cancel()
    assert list(stopped) and watched.closed["mini-1"].wait(30)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (lambda: promote(2, sha256="0" * 64), "not the same file"),
        (lambda: promote(2, file="gone.gguf"), "no model file"),
        (lambda: (damaged(2), promote(2)), "not a whole GGUF"),
        (lambda: promote(2, round="three"), "cannot be read"),
        (lambda: (home() / "promoted.json").write_text('{"file": "rou'), "cannot be read"),
        (lambda: (home() / "promoted.json").write_text("[]"), "names no file"),
    ],
    ids=["other sha256", "missing", "cut short", "odd round", "torn", "no pointer"],
)
def test_a_bad_file_changes_nothing_is_said_once_and_not_tried_until_the_pointer_moves(
    watch: Any, capsys: pytest.CaptureFixture[str], bad: Callable[[], Any], sentence: str
) -> None:
    promote(1)
    watched = watch()
    watched.look()
    bad()
    opened = [watched.look() and list(watched.opened) for _ in range(3)]
    said = capsys.readouterr().err
    assert watched.desk.engine.model.name == "mini-1" and opened[0] == opened[-1]
    assert said.count("\n") == 1 and sentence in said and "mini-1 (round 1" in said
    assert sentence in watched.refused["why"] and not watched.refused["again"]
    promote(3)
    assert watched.look() == "mini-3" and watched.refused == {}


def test_without_room_in_memory_the_old_model_stays_and_the_new_one_is_tried_again(
    watch: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch()
    promote(1)
    monkeypatch.setattr("app.desk.follow.free_bytes", lambda: 10 * 2**20)
    monkeypatch.setattr("app.desk.follow.FIRST_PAUSE", 0.0)
    assert [watched.look(), watched.look()] == ["mini", "mini"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "10 MiB are free" in said and watched.refused["again"]
    monkeypatch.setattr("app.desk.follow.free_bytes", memory.free_bytes)
    assert watched.look() == "mini-1" and watched.refused == {}


@pytest.mark.parametrize("settled", ["answering", "refused"])
def test_a_look_that_failed_leaves_no_trace_once_the_pointer_can_be_read_again(
    watch: Any, monkeypatch: pytest.MonkeyPatch, settled: str
) -> None:
    def unreachable() -> Any:
        raise NetworkError("The Hub does not answer.")

    watched = watch()
    promote(1, **({"file": "gone.gguf"} if settled == "refused" else {}))
    watched.look()
    stands = watched.refused
    assert bool(stands) == (settled == "refused")
    for _ in range(2):  # a second time nothing is printed, and the file tells it all the same
        with monkeypatch.context() as away:
            away.setattr(watched.follower._pointer, "look", unreachable)
            watched.look()
            watched.look()
            assert watched.refused["again"] and "does not answer" in watched.refused["why"]
        watched.look()
        assert watched.refused == stands


def test_a_pointer_that_comes_back_from_a_model_without_room_ends_the_wait_for_it(
    watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch()
    promote(1)
    watched.look()
    monkeypatch.setattr("app.desk.follow.free_bytes", lambda: 10 * 2**20)
    for _ in range(2):
        promote(2)
        assert watched.look() == "mini-1" and watched.refused["again"]
        promote(1)
        assert watched.look() == "mini-1" and watched.refused == {}


def test_where_memory_is_for_few_conversations_the_new_model_comes_and_it_is_said_once(
    watch: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_one, of_all = needs(resolve("mini"), CONTEXT)
    of_two = memory.serving_bytes(MINI, CONTEXT, live=2)
    assert of_all - of_one == (Limits.live - 1) * (of_two - of_one) > 0
    watched = watch()
    promote(1)
    monkeypatch.setattr("app.desk.follow.free_bytes", lambda: of_one)
    assert [watched.look(), watched.look()] == ["mini-1", "mini-1"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "fewer are answered side by side" in said


def test_a_chat_without_a_model_gets_one_when_the_pointer_moves(watch: Any) -> None:
    promote(1, file="gone.gguf")
    watched = watch()
    assert watched.desk.state == FAILED and "no model file" in watched.refused["why"]
    watched.follower.look()
    assert watched.desk.state == FAILED
    promote(2)
    assert watched.look() == "mini-2"


def test_only_the_default_and_pointers_are_followed() -> None:
    assert all(pointer_of(ref) for ref in ("", "promoted", "hf://somebody/shop/promoted.json"))
    stays = ("mini", "llama-3.2-1b", "x.gguf", "hf://a/b/x.gguf", "hf://a/b@abc/promoted.json")
    assert not any(pointer_of(ref) for ref in stays)


def test_the_pointer_of_a_repository_is_followed_and_asked_for_only_where_its_branch_moved(
    hub: Hub, watch: Any
) -> None:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token="hf_write")
    api.create_repo("somebody/shop")

    def promote_there(round: int) -> None:
        pointer = {"file": "shop.gguf", "sha256": sha256_of(MINI), "name": f"shop-{round}", "round": round}
        content = json.dumps(pointer).encode()
        api.upload_file(path_or_fileobj=content, path_in_repo="promoted.json", repo_id="somebody/shop")

    api.upload_file(path_or_fileobj=str(MINI), path_in_repo="shop.gguf", repo_id="somebody/shop")
    promote_there(1)
    watched = watch("hf://somebody/shop/promoted.json")
    assert watched.look() == "shop-1"
    hub.requests.clear()
    assert watched.look() == "shop-1" and len(hub.requests) == 1
    promote_there(2)
    assert watched.look() == "shop-2"


def test_a_hub_that_does_not_answer_is_asked_less_and_less_often(
    hub: Hub, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backtalk.promoted.PATIENCE_SECONDS", 0.0)
    pointer = PointerOnHub("hf://somebody/none/promoted.json", "somebody/none")
    pauses = []
    for _ in range(6):
        with pytest.raises(Exception, match="no model repository"):
            pointer.look()
        pauses.append(pointer.seconds)
    assert pauses == [120, 240, 480, 900, 900, 900]
