"""What went wrong, as a visitor reads it: in the page's words, in every language.

Command: pytest tests/app/ui/test_faults.py
Promise: no English sentence of the server stands on a French page; what only whoever runs the server can act
on stands in its log.
"""

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from app.ui.endpoint import frankly, told
from app.ui.words import ENGLISH, languages, read_words
from backtalk.errors import BacktalkError, ModelError, OutboxError
from feedback.store.outbox import FAILURES, FOR_VISITORS, Outbox

ROOT = Path(__file__).resolve().parents[3]
VISITED = (
    "app",
    "backtalk/engine",
    "backtalk/prompt.py",
    "feedback/redact.py",
    "feedback/revisions.py",
    "feedback/rights/amending.py",
    "feedback/rights/consenting.py",
    "feedback/schema.py",
    "feedback/store/line.py",
    "feedback/store/outbox.py",
    "feedback/store/saving.py",
)
"""Where a visitor's question leads, and a visitor's flag."""
NOT_VISITED = (
    "app/access/key.py", "app/access/maintainers.py",  # read when the server starts
    "app/access/oauth.py",  # the page has words of its own for a sign-in that failed
    "app/ask.py", "app/serve.py", "app/settings.py", "app/watch.py",  # commands
    "app/desk/follow.py",  # says it in the log
    "app/maintain/", "app/ui/experiments.py", "app/ui/maintain.py",  # for maintainers
    "app/programs/", "app/ui/programs.py", "app/ui/public.py",  # for programs
    "backtalk/engine/likelihood.py",  # for evaluations
    "backtalk/engine/llama.py", "backtalk/engine/weights.py",  # loading: no_model, or not_loaded
)  # fmt: skip
ELSEWHERE = {
    "Contender.model": "it is called not_loaded by the desk that asked for it",
    "EndpointEngine.__init__": "loading",
    "EndpointEngine._first_served": "loading",
    "EndpointEngine._refusal": "called there, or tried again and then called endpoint_silent",
    "EndpointEngine._send": "tried again and then called endpoint_silent",
    "Outbox.forget": "for a command",
    "Template.__init__": "loading",
    "_calmly": "a file that cannot be used is for the log",
    "_connect": "opening: flagging is off, not_kept",
    "_migrate": "opening: flagging is off, not_kept",
    "_no_model": "called as what went wrong, or no_model",
}


ONE_OF_SEVERAL = "?"  # the name stands in a table: FOR_VISITORS


class Fault(NamedTuple):
    """A fault as the source makes it; an empty name: it has none."""

    place: str
    within: str  # which function or method
    name: str


def kinds(kind: type[BacktalkError] = BacktalkError) -> Iterator[str]:
    yield kind.__name__
    for other in kind.__subclasses__():
        yield from kinds(other)


def sources() -> Iterator[str]:
    for place in VISITED:
        paths = sorted((ROOT / place).rglob("*.py")) or [ROOT / place]
        for name in (str(path.relative_to(ROOT)) for path in paths):
            if not name.startswith(NOT_VISITED):
                yield name


@cache
def faults() -> list[Fault]:
    """Every fault that is made where visitors come."""
    for place in sources():
        importlib.import_module(place.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    known = frozenset(kinds())
    return [fault for place in sources() for fault in _made(_read(place), place, "", known)]


def _read(place: str) -> ast.AST:
    return ast.parse((ROOT / place).read_text(encoding="utf-8"))


def _made(node: ast.AST, place: str, within: str, known: frozenset[str]) -> Iterator[Fault]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield from _made(child, place, f"{within}.{child.name}".strip("."), known)
            case ast.Call(func=ast.Attribute(ast.Call(ast.Name(kind)), "called"), args=[name]) if (
                kind in known
            ):
                named = name.value if isinstance(name, ast.Constant) else ONE_OF_SEVERAL
                yield Fault(f"{place}:{child.lineno}", within, named)
            case ast.Call(func=ast.Name(kind)) if kind in known:
                yield Fault(f"{place}:{child.lineno}", within, "")
            case _:
                yield from _made(child, place, within, known)


def test_every_fault_that_a_visitor_may_meet_has_a_name() -> None:
    found = list(faults())
    assert [fault for fault in found if not fault.name and fault.within not in ELSEWHERE] == []
    assert {fault.within for fault in found if not fault.name} == ELSEWHERE.keys()
    assert len(found) > 60


@pytest.mark.parametrize("language", languages())
def test_every_fault_that_a_visitor_may_meet_is_said_in_every_language(language: str) -> None:
    names = {fault.name for fault in faults()} - {"", ONE_OF_SEVERAL} | {*FOR_VISITORS.values()}
    said, english = read_words(language)["server"]["faults"], read_words()["server"]["faults"]
    assert names <= said.keys()
    assert [name for name in names if said[name] == english[name] and language != ENGLISH] == []


@pytest.mark.parametrize("language", languages())
def test_what_is_said_of_a_fault_is_a_sentence(language: str) -> None:
    said = read_words(language)["server"]["faults"]
    assert [name for name, sentence in said.items() if not sentence.endswith(".")] == []


def test_what_has_no_name_is_said_in_the_log_and_a_visitor_is_told_that_something_went_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = told(ModelError("/srv/secret cannot be read. Check its permissions."))
    assert said["name"] == "internal"
    assert "/srv/secret cannot be read." in capsys.readouterr().err


def test_a_maintainer_is_told_what_has_no_name_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    class View:
        @frankly
        def act(self, request: dict[str, Any]) -> dict[str, Any]:
            raise ModelError("There is no file x.")

    assert View().act({}) == {"error": "There is no file x."}
    assert capsys.readouterr().err == ""


def test_what_the_outbox_meets_has_a_name_where_a_visitor_can_act_on_it(tmp_path: Path) -> None:
    assert FOR_VISITORS.keys() <= FAILURES.keys()
    (tmp_path / "outbox").mkdir()
    with pytest.raises(OutboxError) as refused:
        Outbox(tmp_path / "outbox")
    assert refused.value.words == {}
