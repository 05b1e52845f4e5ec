"""Under which licence an export may be published, and what has to go along with it.

    licence_of(origin, repo="somebody/Llama-shop", files=["Llama-shop-Q8_0.gguf"])

A model that was made from Llama follows Llama's community licence, whatever else is stated: its name begins
with "Llama", the agreement and a notice go along, and the page says "Built with Llama". Any other model has
the licence that its base states.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backtalk.attribution import MARK, llama_version
from backtalk.errors import BacktalkError, WordsError
from export.origin import Origin

TEXTS = Path(__file__).parent / "data"
LLAMA_VERSIONS = ("3.1", "3.2")  # those whose agreement lies in data/


@dataclass(frozen=True)
class Licence:
    """An identifier that the Hub knows, the files that go along, and what the page has to say."""

    id: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    display: str = ""  # on the page, where everyone sees it
    policy: str = ""  # address of the rules of use


def licence_of(origin: Origin, repo: str, files: Iterable[str], stated: str = "") -> Licence:
    """The licence of what comes from `origin`; `stated` fills a gap. Raises a sentence if it is broken."""
    if version := llama_version([*origin.licences, *origin.bases, *origin.names, origin.name]):
        return _llama(version, repo, files)
    found = list(dict.fromkeys(licence.lower() for licence in origin.licences))
    if stated and (not found or stated.lower() in found):
        return Licence(stated.lower())
    if stated:
        raise WordsError(
            f"--license says {stated}, and what the model was made from says {' and '.join(found)}. "
            "Leave the flag out, or correct what is wrong."
        )
    if len(found) == 1:
        return Licence(found[0])
    raise WordsError(
        f"The model was made under {' and '.join(found)}; one licence was wanted. Choose it with --license."
        if found
        else "No licence is stated by the export or by what it was made from. State it: --license apache-2.0"
    )


def _llama(version: str, repo: str, files: Iterable[str]) -> Licence:
    if version not in LLAMA_VERSIONS:
        raise BacktalkError(
            f"This model comes from Llama {version}, and Backtalk holds the agreements of Llama "
            f"{' and '.join(LLAMA_VERSIONS)} alone. Publish it by hand, with its agreement beside it."
        )
    owner, _, name = repo.partition("/")
    if not name.startswith(MARK):
        raise WordsError(
            f"{repo} would hold a model made from Llama {version}, whose licence wants a name that begins "
            f"with '{MARK}'. Publish it as {owner}/{MARK}-{name}."
        )
    if unmarked := [file for file in files if not file.startswith(MARK)]:
        raise BacktalkError(
            f"{unmarked[0]} was made from Llama {version}, whose licence wants a name that begins with "
            f"'{MARK}'. Export it again under such a name."
        )
    return Licence(
        id=f"llama{version}",
        files={
            "LICENSE": (TEXTS / f"llama{version}-license.txt").read_bytes(),
            "NOTICE": _notice(version).encode(),
        },
        display=f"Built with {MARK}",
        policy=f"https://www.llama.com/llama{version.replace('.', '_')}/use-policy",
    )


def _notice(version: str) -> str:
    """The attribution that section 1.b.iii of the agreement asks for, word for word."""
    return (
        f"Llama {version} is licensed under the Llama {version} Community License, "
        "Copyright © Meta Platforms, Inc. All Rights Reserved.\n"
    )
