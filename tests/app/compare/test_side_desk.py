"""The second desk: what is loaded, what is shared, what has to go, and what is said where nothing fits.

Command: .venv/bin/python -m pytest tests/app/compare/test_side_desk.py
Promise: no model is loaded beyond the memory, none is closed while it answers, an idle one goes.
"""

from pathlib import Path
from typing import Any

import pytest

from app.compare.contenders import Contender, contenders
from app.compare.side_desk import IDLE_SECONDS, SideDesk
from backtalk.errors import BusyError, ModelError
from backtalk.models import MINI, Model

MUCH = 2**40


class Scripted:
    def __init__(self, model: Model):
        self.model, self.is_closed = model, False

    def close(self) -> None:
        self.is_closed = True


class World:
    """A side desk whose engines, memory and time are in the test's hands."""

    def __init__(self, desk: Any):
        self.opened: list[Scripted] = []
        self.free, self.now = MUCH, 0.0
        self.side = SideDesk(desk, 1024, self._open, lambda: self.free, lambda: self.now)

    def _open(self, model: Model, _context: int, _threads: int) -> Any:
        self.opened.append(Scripted(model))
        return self.opened[-1]


@pytest.fixture
def world(desk: Any) -> World:
    return World(desk)


def other(name: str) -> Contender:
    return Contender(name, "export", name, 1, "", lambda: Model(name, MINI, "7" * 64))


def test_the_model_that_answers_the_chat_is_shared(world: World, desk: Any) -> None:
    shift = world.side.hold(contenders(desk.engine.model)[0])
    assert shift.engine is desk.engine and world.opened == []
    shift.end()


def test_another_model_is_loaded_once_and_stays_for_a_while(world: World) -> None:
    first, second = world.side.hold(other("x")), world.side.hold(other("x"))
    assert first is second and len(world.opened) == 1
    first.end(), second.end()
    world.now = IDLE_SECONDS - 1
    world.side.sweep()
    assert world.side.loaded == ["x"]
    world.now = IDLE_SECONDS
    world.side.sweep()
    assert world.side.loaded == []


def test_an_answer_keeps_its_model_however_long_it_takes(world: World) -> None:
    shift = world.side.hold(other("x"))
    world.now = 10 * IDLE_SECONDS
    world.side.sweep()
    assert world.side.loaded == ["x"] and not world.opened[0].is_closed
    shift.end()


def test_a_third_model_takes_the_place_of_the_one_that_was_asked_longest_ago(world: World) -> None:
    for world.now, name in enumerate("xyz"):
        world.side.hold(other(name)).end()
    assert world.side.loaded == ["y", "z"] and world.opened[0].is_closed


def test_while_all_are_asked_a_further_one_is_told_to_come_back(world: World) -> None:
    for name in "xy":
        world.side.hold(other(name))
    with pytest.raises(BusyError, match="Try again in a moment"):
        world.side.hold(other("z"))


def test_too_little_memory_is_one_sentence_with_both_numbers(world: World) -> None:
    world.free = 10 * 2**20
    with pytest.raises(ModelError, match=r"x takes \d+ MB beside .* and 10 MB are free"):
        world.side.hold(other("x"))
    assert world.opened == []


def test_an_idle_model_makes_room_where_memory_is_short(world: World) -> None:
    world.side.hold(other("x")).end()
    world.free = 0
    with pytest.raises(ModelError):
        world.side.hold(other("y"))
    assert world.opened[0].is_closed and world.side.loaded == []


def test_why_a_model_could_not_be_loaded_is_for_the_log_and_a_visitor_hears_its_name(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = Contender("x", "export", "x", 1, "0" * 64, lambda: Model("x", MINI, "7" * 64))
    with pytest.raises(ModelError) as refused:
        world.side.hold(wrong)
    assert refused.value.words == {"name": "not_loaded", "gaps": {"model": "x"}}
    assert str(MINI) in capsys.readouterr().err and world.opened == []


def test_a_file_that_is_not_what_its_card_says_is_refused(tmp_path: Path) -> None:
    contender = Contender("x", "export", "x", 1, "0" * 64, lambda: Model("x", MINI, "7" * 64))
    with pytest.raises(ModelError, match="its card says 00000000"):
        contender.model()


def test_a_closed_desk_loads_nothing_more(world: World) -> None:
    world.side.hold(other("x")).end()
    world.side.close()
    assert world.opened[0].is_closed
    with pytest.raises(ModelError, match="ending"):
        world.side.hold(other("y"))
