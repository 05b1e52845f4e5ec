"""Who maintains this chat: the names and organisations in BACKTALK_MAINTAINERS.

    BACKTALK_MAINTAINERS="anna, org:acme"
    maintainers().includes("anna")                  True
    maintainers().includes("ben", ["acme"])         True

Hub names are compared as the Hub does, without regard to case. Nobody is a maintainer by default: on one's
own machine the link in the terminal makes one.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from backtalk.errors import WordsError

VARIABLE = "BACKTALK_MAINTAINERS"
ORGANISATION = "org:"
NAME = re.compile(r"[\w.-]{1,96}", re.ASCII)


@dataclass(frozen=True)
class Maintainers:
    """Hub names of people and of organisations, in small letters."""

    people: frozenset[str] = frozenset()
    organisations: frozenset[str] = frozenset()

    def includes(self, name: str, organisations: Iterable[str] = ()) -> bool:
        """Whether a person of this name, a member of these organisations, maintains this chat."""
        return name.lower() in self.people or bool(self.shared(organisations))

    def shared(self, organisations: Iterable[str]) -> frozenset[str]:
        """Those of the organisations whose members maintain this chat."""
        return self.organisations & {one.lower() for one in organisations}


def maintainers() -> Maintainers:
    """Those in the environment. Raises WordsError for what is no name on the Hub."""
    given = [
        part.strip().lower() for part in re.split(r"[,\s]+", os.environ.get(VARIABLE, "")) if part.strip()
    ]
    for part in given:
        if not NAME.fullmatch(part.removeprefix(ORGANISATION)):
            raise WordsError(
                f"{VARIABLE} holds '{part[:96]}', which is no name on the Hub. Wanted are names with commas "
                "between them, and org:NAME for all members of an organisation."
            )
    organisations = frozenset(part[len(ORGANISATION) :] for part in given if part.startswith(ORGANISATION))
    return Maintainers(frozenset(part for part in given if not part.startswith(ORGANISATION)), organisations)
