"""A request to the Hub, who asks, and the answer: what every route is given and gives back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote

from tests.hub.store import Commit, Refused, Repo, Store

EVERYTHING = "*"


@dataclass(frozen=True)
class Request:
    method: str
    path: str  # raw: a revision may hold an escaped slash
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict:
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            raise Refused(400, message="The body is not JSON.") from None


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def answer_json(value: object, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


@dataclass(frozen=True)
class Token:
    """Who holds the token, and which repositories it may write: "*" is all.

    `scopes` makes it a fine-grained one: kind, name and permissions, as `whoami` tells them.
    """

    user: str
    writes: tuple[str, ...] = ()
    scopes: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    everywhere: tuple[str, ...] = ()

    def reads(self, kind: str, name: str) -> bool:
        """Whether it may read a private repository; a fine-grained one only what it lists."""
        owner = name.partition("/")[0]
        places = {(kind, name), ("user", owner), ("org", owner)}
        return not self.scopes or any((kind, name) in places for kind, name, _ in self.scopes)


class Place(Protocol):
    """What a call is made to."""

    store: Store
    tokens: Mapping[str, Token]
    endpoint: str

    def url(self, kind: str, name: str) -> str: ...


@dataclass(frozen=True)
class Call:
    """A request that found its route."""

    api: Place
    request: Request
    kind: str
    name: str
    words: dict[str, str]

    @property
    def token(self) -> Token | None:
        given = self.request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if not given:
            return None
        if given not in self.api.tokens:
            raise Refused(401, message="Invalid credentials in Authorization header")
        return self.api.tokens[given]

    @property
    def author(self) -> str:
        return self.token.user if self.token else "anonymous"

    def readable(self) -> Repo:
        """The repository, if this token may read it; a private one is not there for others."""
        repo = self.api.store.repo(self.kind, self.name)
        if repo.private and not (self.token and self.token.reads(self.kind, self.name)):
            raise Refused(401, "RepoNotFound", "Invalid username or password.")
        return repo

    def writable(self) -> Repo:
        self.may_write(self.name)
        return self.api.store.repo(self.kind, self.name)

    def may_write(self, name: str) -> None:
        if not self.token:
            raise Refused(401, message="Invalid username or password.")
        if not {EVERYTHING, name} & {*self.token.writes}:
            raise Refused(403, message=f"This token cannot write {name}.")

    def commit(self, repo: Repo) -> Commit:
        return repo.commit(unquote(self.words.get("revision") or "main"))
