"""How a view answers the page: one JSON object in, one out, each endpoint with the role that may call it.

    at_once(self.flag)                              answered at once, for everybody
    at_once(self.promote, role=MAINTAINER)          for maintainers alone
    streamed(self.ask, most=72, line="desk")        answered bit by bit, in the queue

The functions are methods that take one object. Their names and roles stand in one table: the door lets nobody
in to an endpoint without the role, and the tests go through all of it. What is sent under one of the names in
FROM_THE_DOOR is thrown away; a maintainer's request then holds request["maintainer"], put there by the door:
{"name": who it is, "token": their own Hub token, "" on one's own machine}.
"""

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
    """A fault that the reader can act on becomes what `told` makes of it."""

    @wraps(answer)
    def calm(self: View, request: Json) -> Json:
        try:
            return answer(self, as_object(request))
        except BacktalkError as fault:
            return told(fault)

    return calm


def told(fault: BacktalkError) -> Json:
    """A fault for the page: its sentence, and its name where the page may have words of its own for it."""
    return {"error": str(fault), **({"name": fault.name, "gaps": dict(fault.gaps)} if fault.name else {})}


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
        raise WordsError(f"The request holds a {type(value).__name__} where an object was wanted.")
    return value


def _record(answer: Callable[..., Any], role: Role) -> None:
    name = answer.__name__
    if ROLES.setdefault(name, role) != role:
        raise ValueError(
            f"The endpoint {name} is for a {ROLES[name]} already; two views must not share a name."
        )
