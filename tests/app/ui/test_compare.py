"""The Compare tab's endpoints: streamed side by side, nothing named before the vote, every fault a sentence.

Command: .venv/bin/python -m pytest tests/app/ui/test_compare.py
Promise: what an endpoint answers is what the page needs, and no more than a visitor may know.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from app.compare.contenders import Contender
from app.desk.transcript import new_visitor
from app.flags.flagging import Flagging
from app.ui import compare
from app.ui.compare import CompareView
from app.ui.mine import MineView
from backtalk.models import MINI, Model

WHOLE = "<strong>on its way</strong>"


@pytest.fixture
def flagging() -> Iterator[Flagging]:
    with closing(Flagging.at_home()) as flagging:
        yield flagging


@pytest.fixture
def view(scripted_desk: Any, flagging: Flagging, monkeypatch: pytest.MonkeyPatch) -> Iterator[CompareView]:
    """The tab where a second model lies in the state folder; the engine behind it speaks from a script."""
    engine = scripted_desk.engine
    other = Contender("other", "export", "other-Q8_0", 2, "", lambda: Model("", MINI, "2" * 64))

    def offered(current: Model) -> list[Contender]:
        return [Contender("current", "current", current.name, 0, current.sha256, lambda: current), other]

    monkeypatch.setattr(compare, "contenders", offered)
    monkeypatch.setattr("app.compare.side_desk._load", lambda *_: type(engine)())
    view = CompareView(scripted_desk, flagging, context=1024)
    yield view
    view.close()


@pytest.fixture
def request_of() -> Callable[..., dict[str, Any]]:
    token = new_visitor()

    def request_of(**more: Any) -> dict[str, Any]:
        asked = {"pair": ["current", "other"], "question": "where?", "request": "request-1"}
        return {"visitor": token, **asked, **more}

    return request_of


def test_the_tab_begins_with_the_model_that_answers_and_one_beside_it(view: CompareView) -> None:
    told = view.contenders({})
    assert told["pair"] == ["current", "other"]
    assert [model["key"] for model in told["models"]] == ["current", "other"]
    assert told["flagging"]["allowed"]


def test_both_answers_stream_and_only_the_vote_tells_the_names(
    view: CompareView, request_of: Callable[..., dict[str, Any]]
) -> None:
    steps = list(view.compare(request_of()))
    last = {side: [step["html"] for step in steps if step.get("side") == side][-1] for side in "ab"}
    assert all(WHOLE in html and "<script>" not in html for html in last.values())
    assert "scripted" not in str(steps) and "other" not in str(steps)
    sealed = steps[-1]["sealed"]
    looked = view.choose(request_of(sealed=sealed, choice={"choice": "a_better"}, look=True))
    assert [text["part"] for text in looked["texts"]] == ["question", "answer", "answer"]
    told = view.choose(request_of(sealed=sealed, choice={"choice": "a_better"}))
    assert {told["names"][side]["round"] for side in "ab"} == {0}
    assert told["saved"] == "Saved on this machine." and told["tally"]["first"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"visitor": "forged.token"},
        {"pair": ["current", "../../secret"]},
        {"pair": ["current", "current"]},
        {"pair": 7},
        {"question": ""},
        {"question": None},
        {"question": "x" * 40_000},
        {"controls": {"temperature": "hot"}},
        {"request": "?"},
        {"question": "busy"},
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    view: CompareView, request_of: Callable[..., dict[str, Any]], wrong: dict[str, Any]
) -> None:
    last = list(view.compare(request_of(**wrong)))[-1]
    assert last.keys() <= {"error", "name", "gaps"} and last["error"].endswith(".")


@pytest.mark.parametrize("sealed", [None, "", "forged", 7, "A" * 500, {"a": 1}])
def test_a_vote_on_nothing_is_one_sentence(
    view: CompareView, request_of: Callable[..., dict[str, Any]], sealed: Any
) -> None:
    told = view.choose(request_of(sealed=sealed, choice={"choice": "a_better"}))
    assert "was not made by this server" in told["error"]


@pytest.mark.parametrize("choice", [{}, {"choice": None}, {"choice": ["a_better"]}, {"choice": {}}, {"x": 1}])
def test_a_vote_for_nobody_is_one_sentence(
    view: CompareView, request_of: Callable[..., dict[str, Any]], choice: dict[str, Any]
) -> None:
    sealed = list(view.compare(request_of()))[-1]["sealed"]
    assert "for A, for B" in view.choose(request_of(sealed=sealed, choice=choice))["error"]


def test_a_stopped_comparison_ends_with_what_was_written(
    view: CompareView, request_of: Callable[..., dict[str, Any]]
) -> None:
    steps = view.compare(request_of(question="wait"))
    begun = [next(steps), next(steps)]
    assert view.halt(request_of()) == {"stopped": True}
    rest = [*begun, *steps]
    assert rest[-1]["sealed"]


def test_my_flags_hold_the_vote_and_nobody_elses_do(
    view: CompareView, scripted_desk: Any, flagging: Flagging, request_of: Callable[..., dict[str, Any]]
) -> None:
    sealed = list(view.compare(request_of()))[-1]["sealed"]
    view.choose(request_of(sealed=sealed, choice={"choice": "both_bad", "reasons": {"a": ["outdated"]}}))
    mine, stranger = MineView(scripted_desk, flagging), new_visitor()
    [flag] = mine.mine(request_of())["flags"]
    assert (flag["choice"], flag["reasons"]) == ("both_bad", ["outdated"])
    assert mine.mine({"visitor": stranger})["flags"] == []
    assert "not known" in mine.withdraw({"visitor": stranger, "flag": flag["flag_id"]})["error"]
    assert mine.mine_rows({"visitor": stranger}) == {"count": 0, "lines": ""}
    assert mine.mine_rows(request_of())["count"] == 2
    assert len(mine.withdraw(request_of(flag=flag["flag_id"]))["gone"]) == 2


@pytest.mark.parametrize(
    "wrong", [{"start": -1}, {"start": True}, {"start": "0"}, {"known": "x"}, {"known": [1]}]
)
def test_a_list_that_cannot_be_is_one_sentence(
    scripted_desk: Any, flagging: Flagging, wrong: dict[str, Any]
) -> None:
    told = MineView(scripted_desk, flagging).mine({"visitor": new_visitor(), **wrong})
    assert list(told) == ["error", "name", "gaps"]
