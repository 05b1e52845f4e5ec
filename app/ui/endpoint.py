"""How a view answers the page: one JSON object in, one out, each endpoint with the role that may call it.

    at_once(self.flag)                              answered at once, for everybody
    at_once(self.promote, role=MAINTAINER)          for maintainers alone
    streamed(self.ask, most=72, line="desk")        answered bit by bit, in the queue

The functions are methods that take one object. Their names and roles stand in one table: the door lets nobody
in to an endpoint without the role, and the tests go through all of it. What is sent under one of the names in
FROM_THE_DOOR is thrown away; a maintainer's request then holds request["maintainer"], put there by the door:
{"name": who it is, "token": their own Hub token, "" on one's own machine}.
"""

import sys
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Literal, TypeVar

import gradio as gr

from backtalk.errors import BacktalkError, WordsError

Json = dict[str, Any]
Role = Literal["visitor", "maintainer"]
View = TypeVar("View")

VISITOR: Role = "visitor"
MAINTAINER: Role = "maintainer"
FROM_THE_DOOR = ("maintainer",)
ROLES: dict[str, Role] = {}
"""Who may call what: the role of each endpoint by its name."""


def calmly(answer: Callable[[View, Json], Json]) -> Callable[[View, Json], Json]:
    """A fault becomes what `told` makes of it for a visitor."""
    return _answered(answer, told)


def frankly(answer: Callable[[View, Json], Json]) -> Callable[[View, Json], Json]:
    """The same for a maintainer, who can act on a fault that has no name, too."""
    return _answered(answer, lambda fault: {"error": str(fault), **fault.words})


def told(fault: BacktalkError) -> Json:
    """A fault for a visitor's page: its sentence, and the name by which the page has words for it.

    One without a name is for whoever runs the server: it is said in the log, and the page says that something
    went wrong.
    """
    if not fault.name:
        print(f"{fault} A visitor was told that something went wrong.", file=sys.stderr, flush=True)
        fault.called("internal")
    return {"error": str(fault), **fault.words}


def at_once(answer: Callable[[Json], Json], role: Role = VISITOR) -> None:
    """Registers an endpoint that does not wait in the queue with the app that is being built."""
    _record(answer, role)
    gr.api(answer, api_name=answer.__name__, queue=False, api_visibility="private")


def streamed(
    answer: Callable[[Json], Iterator[Json]], role: Role = VISITOR, *, most: int, line: str = ""
) -> None:
    """The same for one that answers bit by bit; at most `most` of a line are answered at the same time."""
    _record(answer, role)
    gr.api(
        answer,
        api_name=answer.__name__,
        api_visibility="private",
        concurrency_limit=most,
        concurrency_id=line or answer.__name__,
    )


def as_object(value: Any) -> Json:
    """The value, where it is an object. Raises WordsError for anything else."""
    if not isinstance(value, dict):
        raise WordsError(f"The request holds a {type(value).__name__} where an object was wanted.").called(
            "out_of_step"
        )
    return value


def _answered(
    answer: Callable[[View, Json], Json], tell: Callable[[BacktalkError], Json]
) -> Callable[[View, Json], Json]:
    @wraps(answer)
    def calm(self: View, request: Json) -> Json:
        try:
            return answer(self, as_object(request))
        except BacktalkError as fault:
            return tell(fault)

    return calm


def _record(answer: Callable[..., Any], role: Role) -> None:
    name = answer.__name__
    if ROLES.setdefault(name, role) != role:
        raise ValueError(
            f"The endpoint {name} is for a {ROLES[name]} already; two views must not share a name."
        )
