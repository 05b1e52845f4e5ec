"""Who is signed in, as a cookie that only this server can make, read or change.

    accounts = Accounts(maintainers(), link=Link())
    accounts.cookie(Person("anna", LINK))         a header Set-Cookie: HttpOnly, sealed, for 8 hours
    accounts.person(cookie_header)                  the person in it, or None
    accounts.is_maintainer(person)                  asked at every call

The cookie holds the person and, from a Space, their own Hub token; it is sealed with the secret that signs
everything else, so it survives a restart and holds on every replica. What was altered, has expired, was made
under another secret or on another kind of server is nobody.
"""

import getpass
import hmac
import secrets
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

from starlette.requests import cookie_parser

from app.access.maintainers import Maintainers
from app.access.seal import seal, unseal
from backtalk.errors import TranscriptError

PERSON, STATE = "sign-in", "way to the Hub"  # what is sealed for: one is not taken for the other
SECONDS = 8 * 3600  # as long as the Hub's own token lasts
SIGN_OUTS_KEPT = 1000
LINK, HUB = "link", "hub"  # how somebody came in: with the link of this machine, or from the Hub
SOMEBODY = "maintainer"  # whoever came with the link where the system has no name for its user


@dataclass(frozen=True)
class Person:
    """Who is signed in. `organisations`: those of their organisations whose members maintain this chat."""

    name: str
    way: str
    token: str = field(default="", repr=False)
    organisations: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))  # of this sign-in


class Link:
    """The secret of the link in the terminal: it works once, then there is another one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.key = secrets.token_urlsafe(24)

    def spend(self, key: Any) -> bool:
        """Whether this was the key; if so it is so no longer."""
        with self._lock:
            given = key.encode("utf-8", "replace") if isinstance(key, str) else b""
            if not hmac.compare_digest(given, self.key.encode()):
                return False
            self.key = secrets.token_urlsafe(24)
            return True


class Accounts:
    """`link` is None where the Hub says who somebody is; `framed`: the page may stand inside another one."""

    def __init__(self, maintainers: Maintainers, link: Link | None = None, framed: bool = False):
        self.maintainers, self.link, self._framed = maintainers, link, framed
        self._ended: OrderedDict[str, None] = OrderedDict()

    def is_maintainer(self, person: Person | None) -> bool:
        if person is None:
            return False
        return person.way == LINK or self.maintainers.includes(person.name, person.organisations)

    def person(self, cookies: str) -> Person | None:
        """Whoever the header `Cookie` names; None for nobody."""
        try:
            told = unseal(PERSON, "", cookie_value(cookies, self.cookie_name), SECONDS)
            person = Person(**{**told, "organisations": tuple(told["organisations"])})
        except (TranscriptError, KeyError, TypeError):  # altered, expired, or sealed by another release
            return None
        is_from_here = person.way == (HUB if self.link is None else LINK)
        return person if is_from_here and person.id not in self._ended else None

    def end(self, person: Person) -> None:
        """Signs somebody out: their cookie is nobody's from now on, wherever a copy of it is."""
        self._ended[person.id] = None
        while len(self._ended) > SIGN_OUTS_KEPT:
            self._ended.popitem(last=False)

    @property
    def cookie_name(self) -> str:
        return self._named("backtalk_account")

    @property
    def state_name(self) -> str:
        """Of the cookie that is kept between leaving for the Hub and coming back."""
        return self._named("backtalk_state")

    def cookie(self, person: Person) -> str:
        """The header Set-Cookie that signs somebody in."""
        return self.set_cookie(self.cookie_name, seal(PERSON, "", asdict(person)), SECONDS)

    def no_cookie(self) -> str:
        """The one that signs them out."""
        return self.set_cookie(self.cookie_name, "", 0)

    def set_cookie(self, name: str, value: str, seconds: int) -> str:
        # A Space is shown inside huggingface.co: there a cookie must say that it may be used in a frame, and
        # `Partitioned` keeps it to that frame. On one's own machine no other site can make a browser send it.
        where = "SameSite=None; Secure; Partitioned" if self._framed else "SameSite=Strict"
        return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; {where}"

    def _named(self, name: str) -> str:
        return f"__Host-{name}" if self._framed else name


def cookie_value(cookies: str, name: str) -> str:
    """A cookie's value in the header `Cookie`; "" where it is not there."""
    return cookie_parser(cookies).get(name, "")


def own_name() -> str:
    """What the maintainer of this machine is called: as the system calls its user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user has a number and no name
        return SOMEBODY
