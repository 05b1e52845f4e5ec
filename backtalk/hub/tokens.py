"""Who a token is, and how much it may do.

    rights = rights_of(token)                  asks the Hub; "" is our own
    rights.beyond(writes, reads)               what it may do that nobody asked for, in words

A fine-grained token lists the repositories that it may touch. Every other kind may touch all that its owner
has, which is why a Space, where a stranger's request runs, is never given one.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from backtalk.errors import NetworkError
from backtalk.hub import PATIENCE_SECONDS, _api, _patiently

READING = frozenset({"repo.content.read", "repo.access.read"})
WRITING = READING | {"repo.write"}
REACH_SECONDS = 5.0
REPOSITORIES = ("dataset", "model", "space", "bucket")


@dataclass(frozen=True)
class Scope:
    """What a token may do with one repository, or with all of a user or an organisation."""

    kind: str
    name: str
    permissions: frozenset[str]

    @property
    def place(self) -> str:
        return f"the {self.kind} {self.name}" if self.kind in REPOSITORIES else f"everything of {self.name}"


@dataclass(frozen=True)
class Rights:
    """A token's owner, its role (read, write, fineGrained), and what a fine-grained one is narrowed to."""

    user: str
    role: str
    scopes: tuple[Scope, ...] = ()
    everywhere: frozenset[str] = field(default_factory=frozenset)
    organisations: tuple[str, ...] = ()

    @property
    def fine_grained(self) -> bool:
        return self.role == "fineGrained"

    @property
    def sentence(self) -> str:
        """For people: whose it is, and what it may do."""
        if not self.fine_grained:
            return f"{self.user}, {self.role or 'unknown'} access to everything"
        places = ", ".join(scope.place for scope in self.scopes) or "nothing of its own"
        return f"{self.user}, fine-grained: {places}"

    def beyond(self, writes: Collection[str], reads: Collection[str]) -> list[str]:
        """What it may do beyond writing these datasets and reading these models; empty where nothing."""
        if not self.fine_grained:
            return [f"it has {self.role or 'an unknown kind of'} access to everything of {self.user}"]
        return [*self._everywhere(), *self._too_much(writes, reads)]

    def _everywhere(self) -> Iterator[str]:
        if self.everywhere:
            yield f"it has {', '.join(sorted(self.everywhere))} for the whole account"

    def _too_much(self, writes: Collection[str], reads: Collection[str]) -> Iterator[str]:
        allowed = {("dataset", name): WRITING for name in writes}
        allowed |= {("model", name): READING for name in reads}
        for scope in self.scopes:
            if more := scope.permissions - allowed.get((scope.kind, scope.name), frozenset()):
                yield f"it has {', '.join(sorted(more))} for {scope.place}"


def rights_of(token: str = "", patience: float = PATIENCE_SECONDS) -> Rights:
    """What a token may do. Raises NetworkError where the Hub does not know it, or is not reached."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    def ask() -> Rights:
        try:
            return _rights(_api(token).whoami())
        except LocalTokenNotFoundError as fault:
            raise NetworkError(
                "There is no token. Make one at https://huggingface.co/settings/tokens and set HF_TOKEN."
            ) from fault
        except HfHubHTTPError as fault:
            if fault.response.status_code != 401:
                raise
            raise NetworkError(
                "The Hub does not know this token (401): it is mistyped or was withdrawn. Make another at "
                "https://huggingface.co/settings/tokens."
            ) from fault

    return _patiently(ask, "the token", patience)


def reach() -> None:
    """Asks the Hub once, without a token, whether it is there. Raises NetworkError where it is not."""
    from huggingface_hub.utils import get_session

    def ask() -> None:
        endpoint = _api().endpoint
        get_session().get(f"{endpoint}/api/whoami-v2", timeout=REACH_SECONDS)

    _patiently(ask, "a first question", patience=0)


def may_write(dataset: str, token: str, patience: float = PATIENCE_SECONDS) -> bool:
    """Whether the Hub lets this token write the dataset."""
    return _may(dataset, token, patience, repo_type="dataset", write=True)


def may_read(model: str, token: str, patience: float = PATIENCE_SECONDS) -> bool:
    """Whether the Hub lets this token read the model repository."""
    return _may(model, token, patience, repo_type="model", write=False)


def _may(name: str, token: str, patience: float, **what: Any) -> bool:
    from huggingface_hub.errors import HfHubHTTPError

    def ask() -> bool:
        try:
            _api(token).auth_check(name, **what)
        except HfHubHTTPError as fault:
            if fault.response.status_code not in (401, 403, 404):
                raise
            return False
        return True

    return _patiently(ask, name, patience)


def _rights(told: Mapping[str, Any]) -> Rights:
    token = told.get("auth", {}).get("accessToken", {})
    fine = token.get("fineGrained") or {}
    return Rights(
        user=str(told.get("name", "")),
        role=str(token.get("role", "")),
        scopes=tuple(map(_scope, fine.get("scoped", ()))),
        everywhere=frozenset(fine.get("global", ())),
        organisations=tuple(str(one.get("name", "")) for one in told.get("orgs", ())),
    )


def _scope(told: Mapping[str, Any]) -> Scope:
    entity = told.get("entity", {})
    return Scope(
        str(entity.get("type", "")), str(entity.get("name", "")), frozenset(told.get("permissions", ()))
    )
